update t set n = n + 1 where k = date_add('2026-10-25 00:30:00.5', interval ({n} % 200 + 1) * 7000 microsecond)
insert into t (k, v) values (date_add('2026-10-25 00:30:00.5', interval (1000 + {n}) * 7000 microsecond), 'new {n}')
delete from t where k = date_add('2026-10-25 00:30:00.5', interval (1000 + {n} - 6) * 7000 microsecond)
update t set k = date_add('2026-10-25 00:30:00.5', interval (500000 + {n}) * 7000 microsecond) where k = date_add('2026-10-25 00:30:00.5', interval (1000 + {n} - 2) * 7000 microsecond)
