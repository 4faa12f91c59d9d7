update t set n = {n} where id = {n} % 200 + 1
update t set a = (select a from t where id = {n} % 4 + 1) where id = 5 and {n} % 40 = 3
update t set a = left(a, 1000) where id = 5 and {n} % 40 = 23
