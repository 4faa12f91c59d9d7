update t set n = n + 1 where k = concat('é', ({n} % 200 + 1))
insert into t (k, v) values (concat('é', (1000 + {n})), 'new {n}')
delete from t where k = concat('é', (1000 + {n} - 6))
update t set k = concat('é', (500000 + {n})) where k = concat('é', (1000 + {n} - 2))
