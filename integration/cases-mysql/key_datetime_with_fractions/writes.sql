update t set n = n + 1 where k = date_add('2026-01-01 00:00:00.000001', interval ({n} % 200 + 1) * 333 microsecond)
insert into t (k, v) values (date_add('2026-01-01 00:00:00.000001', interval (1000 + {n}) * 333 microsecond), 'new {n}')
delete from t where k = date_add('2026-01-01 00:00:00.000001', interval (1000 + {n} - 6) * 333 microsecond)
update t set k = date_add('2026-01-01 00:00:00.000001', interval (500000 + {n}) * 333 microsecond) where k = date_add('2026-01-01 00:00:00.000001', interval (1000 + {n} - 2) * 333 microsecond)
