update t set n = n + 1 where k = 0
insert into t values (1950 + {n} % 40, {n}) on duplicate key update n = {n}
delete from t where k = 1950 + ({n} + 20) % 40
update t set k = 2100 where k = 2155
update t set k = 2155 where k = 2100
