update t set v = v + 1 where a = {n} % 200 + 1
insert into t values ({n}, 3, 1000 + {n})
update t set b = 4 where a = 1000 + {n} - 1
delete from t where a = 1000 + {n} - 3
