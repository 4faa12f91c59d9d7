update t set n = n + 1 where k = concat('k', lpad(({n} % 200 + 1), 8, '0'))
insert into t (k, v) values (concat('k', lpad((1000 + {n}), 8, '0')), 'new {n}')
delete from t where k = concat('k', lpad((1000 + {n} - 6), 8, '0'))
update t set k = concat('k', lpad((500000 + {n}), 8, '0')) where k = concat('k', lpad((1000 + {n} - 2), 8, '0'))
