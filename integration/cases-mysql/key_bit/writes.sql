update t set n = n + 1 where k = (({n} % 200 + 1) << 8) + 1
insert into t (k, v) values (((1000 + {n}) << 8) + 1, 'new {n}')
delete from t where k = ((1000 + {n} - 6) << 8) + 1
update t set k = ((500000 + {n}) << 8) + 1 where k = ((1000 + {n} - 2) << 8) + 1
