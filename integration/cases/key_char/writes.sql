update t set n = n + 1 where k = 'c' || ({n} % 300 + 1)
insert into t (k, v) values ('c' || (1000 + {n}), 'new {n}')
delete from t where k = 'c' || (1000 + {n} - 6)
update t set k = 'c' || (500000 + {n}) where k = 'c' || (1000 + {n} - 2)
