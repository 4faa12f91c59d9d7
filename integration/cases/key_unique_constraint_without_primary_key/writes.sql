update t set n = n + 1 where k = 'k' || ({n} % 300 + 1)
insert into t (k, v) values ('k' || (1000 + {n}), 'new {n}')
delete from t where k = 'k' || (1000 + {n} - 6)
update t set k = 'k' || (500000 + {n}) where k = 'k' || (1000 + {n} - 2)
