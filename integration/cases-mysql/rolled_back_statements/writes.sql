begin; update t set n = 99; rollback
begin; insert into t values (10 + {n}, 1); savepoint s; insert into t values (1000000 + {n}, 1); rollback to s; commit
delete from t where id = 8 + {n}
