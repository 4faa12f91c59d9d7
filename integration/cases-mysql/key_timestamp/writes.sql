update t set n = n + 1 where k = date_add('2026-03-29 00:30:00', interval ({n} % 200 + 1) minute)
insert into t (k, v) values (date_add('2026-03-29 00:30:00', interval (1000 + {n}) minute), 'new {n}')
delete from t where k = date_add('2026-03-29 00:30:00', interval (1000 + {n} - 6) minute)
update t set k = date_add('2026-03-29 00:30:00', interval (500000 + {n}) minute) where k = date_add('2026-03-29 00:30:00', interval (1000 + {n} - 2) minute)
