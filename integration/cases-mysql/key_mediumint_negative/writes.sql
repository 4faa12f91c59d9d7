update t set n = n + 1 where k = ({n} % 200 + 1) - 8388608
insert into t (k, v) values ((1000 + {n}) - 8388608, 'new {n}')
delete from t where k = (1000 + {n} - 6) - 8388608
update t set k = (500000 + {n}) - 8388608 where k = (1000 + {n} - 2) - 8388608
