update t set n = n + 1 where k = date_add('1999-12-31 23:59:00', interval ({n} % 200 + 1) second)
insert into t (k, v) values (date_add('1999-12-31 23:59:00', interval (1000 + {n}) second), 'new {n}')
delete from t where k = date_add('1999-12-31 23:59:00', interval (1000 + {n} - 6) second)
update t set k = date_add('1999-12-31 23:59:00', interval (500000 + {n}) second) where k = date_add('1999-12-31 23:59:00', interval (1000 + {n} - 2) second)
