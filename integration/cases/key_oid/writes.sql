update t set n = n + 1 where k = (({n} % 300 + 1))::oid
insert into t (k, v) values (((1000 + {n}))::oid, 'new {n}')
delete from t where k = ((1000 + {n} - 6))::oid
update t set k = ((500000 + {n}))::oid where k = ((1000 + {n} - 2))::oid
