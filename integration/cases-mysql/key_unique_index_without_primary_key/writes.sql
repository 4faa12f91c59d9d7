update t set n = n + 1 where k = concat('K', {n} % 200 + 1)
insert into t values ({n}, concat('new', {n}), 0)
delete from t where k = concat('new', {n} - 3)
update t set k = concat('k', 1000 + {n}) where k = concat('new', {n} - 1)
