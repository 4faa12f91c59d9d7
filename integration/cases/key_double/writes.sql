update t set n = n + 1 where k = sqrt(({n} % 300 + 1))
insert into t (k, v) values (sqrt((1000 + {n})), 'new {n}')
delete from t where k = sqrt((1000 + {n} - 6))
update t set k = sqrt((500000 + {n})) where k = sqrt((1000 + {n} - 2))
update t set k = -k where k = 0
