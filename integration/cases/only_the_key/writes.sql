insert into t values (1000 + {n})
update t set id = 5000 + {n} where id = {n}
delete from t where id = 300 - {n}
