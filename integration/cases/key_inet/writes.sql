update t set n = n + 1 where k = '10.0.0.0'::inet + (({n} % 300 + 1))
insert into t (k, v) values ('10.0.0.0'::inet + ((1000 + {n})), 'new {n}')
delete from t where k = '10.0.0.0'::inet + ((1000 + {n} - 6))
update t set k = '10.0.0.0'::inet + ((500000 + {n})) where k = '10.0.0.0'::inet + ((1000 + {n} - 2))
