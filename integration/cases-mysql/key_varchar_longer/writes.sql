update t set n = n + 1 where k = concat('key ', ({n} % 200 + 1))
insert into t (k, v) values (concat('key ', (1000 + {n})), 'new {n}')
delete from t where k = concat('key ', (1000 + {n} - 6))
update t set k = concat('key ', (500000 + {n})) where k = concat('key ', (1000 + {n} - 2))
