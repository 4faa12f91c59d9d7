update t set v = concat(left(v, 100000), {n}) where id = {n} % 30 + 1
insert into t values (1000 + {n}, repeat('b', 100000), 1)
delete from t where id = 1000 + {n} - 2
