update t set n = n + 1 where b = {n} % 200 + 1
insert into t values (null, {n}, 9, 0)
delete from t where b = {n} - 3 and c = 9
