update t set n = n + 1 where k = concat('😀', ({n} % 200 + 1))
insert into t (k, v) values (concat('😀', (1000 + {n})), 'new {n}')
delete from t where k = concat('😀', (1000 + {n} - 6))
update t set k = concat('😀', (500000 + {n})) where k = concat('😀', (1000 + {n} - 2))
