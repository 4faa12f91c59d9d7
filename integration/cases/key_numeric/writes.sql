update t set n = n + 1 where k = ((({n} % 300 + 1)) / 7.0)::numeric
insert into t (k, v) values ((((1000 + {n})) / 7.0)::numeric, 'new {n}')
delete from t where k = (((1000 + {n} - 6)) / 7.0)::numeric
update t set k = (((500000 + {n})) / 7.0)::numeric where k = (((1000 + {n} - 2)) / 7.0)::numeric
-- The same key with another scale: equal, but not the same text.
update t set k = (k::text || '0')::numeric where k = (({n} % 300 + 1) / 7.0)::numeric
