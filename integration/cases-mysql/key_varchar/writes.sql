update t set n = n + 1 where k = concat('Straße ', ({n} % 200 + 1), '\\\'')
insert into t (k, v) values (concat('Straße ', (1000 + {n}), '\\\''), 'new {n}')
delete from t where k = concat('Straße ', (1000 + {n} - 6), '\\\'')
update t set k = concat('Straße ', (500000 + {n}), '\\\'') where k = concat('Straße ', (1000 + {n} - 2), '\\\'')
