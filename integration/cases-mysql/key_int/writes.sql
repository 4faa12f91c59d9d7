update t set n = n + 1 where k = ({n} % 200 + 1)
insert into t (k, v) values ((1000 + {n}), 'new {n}')
delete from t where k = (1000 + {n} - 6)
update t set k = (500000 + {n}) where k = (1000 + {n} - 2)
