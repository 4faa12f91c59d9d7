update t set n = n + 1 where k = ({n} % 300 + 1)
insert into t (k, v) values ((1000 + {n}), 'new {n}')
delete from t where k = (1000 + {n} - 6)
update t set k = (500000 + {n}) where k = (1000 + {n} - 2)
begin; update t set k = 999999 - k where k in (10, 999989); update t set k = 999999 - k where k in (11, 999988); commit
begin; update t set k = 41 - k where k in (20, 21); commit
