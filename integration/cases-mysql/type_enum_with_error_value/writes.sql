insert into t (id, a) values (100000 + {n}, 'one')
insert into t (id, a) values (200000 + {n}, 'two')
update t set a = 'two' where id = 1001 + (0 + {n}) % 2
update t set a = 'one' where id = 1001 + (1 + {n}) % 2
update t set a = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
