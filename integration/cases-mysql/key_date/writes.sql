update t set n = n + 1 where k = date_add('1000-01-01', interval ({n} % 200 + 1) day)
insert into t (k, v) values (date_add('1000-01-01', interval (1000 + {n}) day), 'new {n}')
delete from t where k = date_add('1000-01-01', interval (1000 + {n} - 6) day)
update t set k = date_add('1000-01-01', interval (500000 + {n}) day) where k = date_add('1000-01-01', interval (1000 + {n} - 2) day)
