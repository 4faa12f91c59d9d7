update t set n = n + 1 where k = sec_to_time((({n} % 150 + 1) - 100) * 0.25)
insert into t (k, v) values (sec_to_time(((1000 + {n}) - 100) * 0.25), 'new {n}')
delete from t where k = sec_to_time(((1000 + {n} - 6) - 100) * 0.25)
