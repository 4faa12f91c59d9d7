update t set n = n + 1 where k = (({n} % 200 + 1) - 50) / 7 * 1.5
insert into t (k, v) values (((1000 + {n}) - 50) / 7 * 1.5, 'new {n}')
delete from t where k = ((1000 + {n} - 6) - 50) / 7 * 1.5
update t set k = ((500000 + {n}) - 50) / 7 * 1.5 where k = ((1000 + {n} - 2) - 50) / 7 * 1.5
