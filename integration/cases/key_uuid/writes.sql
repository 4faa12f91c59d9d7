update t set n = n + 1 where k = md5((({n} % 300 + 1))::text)::uuid
insert into t (k, v) values (md5(((1000 + {n}))::text)::uuid, 'new {n}')
delete from t where k = md5(((1000 + {n} - 6))::text)::uuid
update t set k = md5(((500000 + {n}))::text)::uuid where k = md5(((1000 + {n} - 2))::text)::uuid
