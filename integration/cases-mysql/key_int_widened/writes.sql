update t set n = n + 1 where k = 4294967295 - ({n} % 200 + 1)
insert into t (k, v) values (4294967295 - (1000 + {n}), 'new {n}')
delete from t where k = 4294967295 - (1000 + {n} - 6)
update t set k = 4294967295 - (500000 + {n}) where k = 4294967295 - (1000 + {n} - 2)
