update t set n = n + 1 where k = '2026-10-25 00:00+00'::timestamptz + (({n} % 300 + 1)) * interval '17 seconds'
insert into t (k, v) values ('2026-10-25 00:00+00'::timestamptz + ((1000 + {n})) * interval '17 seconds', 'new {n}')
delete from t where k = '2026-10-25 00:00+00'::timestamptz + ((1000 + {n} - 6)) * interval '17 seconds'
update t set k = '2026-10-25 00:00+00'::timestamptz + ((500000 + {n})) * interval '17 seconds' where k = '2026-10-25 00:00+00'::timestamptz + ((1000 + {n} - 2)) * interval '17 seconds'
update t set n = n + 1 where k in ('infinity', '-infinity')
