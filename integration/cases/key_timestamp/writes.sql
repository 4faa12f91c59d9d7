update t set n = n + 1 where k = '2026-10-25 00:00'::timestamp + (({n} % 300 + 1)) * interval '17.123456 seconds'
insert into t (k, v) values ('2026-10-25 00:00'::timestamp + ((1000 + {n})) * interval '17.123456 seconds', 'new {n}')
delete from t where k = '2026-10-25 00:00'::timestamp + ((1000 + {n} - 6)) * interval '17.123456 seconds'
update t set k = '2026-10-25 00:00'::timestamp + ((500000 + {n})) * interval '17.123456 seconds' where k = '2026-10-25 00:00'::timestamp + ((1000 + {n} - 2)) * interval '17.123456 seconds'
