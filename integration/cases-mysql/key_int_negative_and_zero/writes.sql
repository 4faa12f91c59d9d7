update t set n = n + 1 where k = ({n} % 200 + 1) - 100
insert into t (k, v) values ((1000 + {n}) - 100, 'new {n}')
delete from t where k = (1000 + {n} - 6) - 100
update t set k = (500000 + {n}) - 100 where k = (1000 + {n} - 2) - 100
