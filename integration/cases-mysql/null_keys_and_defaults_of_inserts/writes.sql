insert into t (a) values ({n})
update t set b = null where a = {n} - 1
delete from t where a = {n} - 5
