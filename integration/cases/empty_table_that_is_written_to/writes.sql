insert into t values ({n}, 'v{n}')
update t set id = -{n} where id = {n}
delete from t where id = 4 - {n}
