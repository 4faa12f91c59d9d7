update t set n = n + 1 where k = (({n} % 300 + 1)) * interval '1 hour'
insert into t (k, v) values (((1000 + {n})) * interval '1 hour', 'new {n}')
delete from t where k = ((1000 + {n} - 6)) * interval '1 hour'
update t set k = ((500000 + {n})) * interval '1 hour' where k = ((1000 + {n} - 2)) * interval '1 hour'
-- Equal, but not the same text.
update t set k = justify_hours(k) where k = ({n} % 300 + 1) * interval '1 hour'
