update t set n = n + 1 where k = 'code' || ({n} % 300 + 1)
insert into t (k, v) values ('code' || (1000 + {n}), 'new {n}')
delete from t where k = 'code' || (1000 + {n} - 6)
update t set k = 'code' || (500000 + {n}) where k = 'code' || (1000 + {n} - 2)
