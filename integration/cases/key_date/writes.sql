update t set n = n + 1 where k = '2000-01-01'::date + (({n} % 300 + 1))
insert into t (k, v) values ('2000-01-01'::date + ((1000 + {n})), 'new {n}')
delete from t where k = '2000-01-01'::date + ((1000 + {n} - 6))
update t set k = '2000-01-01'::date + ((500000 + {n})) where k = '2000-01-01'::date + ((1000 + {n} - 2))
