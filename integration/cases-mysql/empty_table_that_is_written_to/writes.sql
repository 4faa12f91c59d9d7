insert into t (n) values ({n})
update t set n = n + 1 where n = {n}
delete from t where n = {n} - 4
