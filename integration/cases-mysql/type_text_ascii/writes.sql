insert into t (id, a, b, c, d) values (100000 + {n}, left('plain', 20), 'plain', 'plain', repeat('plain', 300))
insert into t (id, a, b, c, d) values (200000 + {n}, left('', 20), '', '', repeat('', 300))
insert into t (id, a, b, c, d) values (300000 + {n}, left('\'\\', 20), '\'\\', '\'\\', repeat('\'\\', 300))
insert into t (id, a, b, c, d) values (400000 + {n}, null, null, null, null)
update t set a = left('', 20), b = '', c = '', d = repeat('', 300) where id = 1001 + (0 + {n}) % 4
update t set a = left('\'\\', 20), b = '\'\\', c = '\'\\', d = repeat('\'\\', 300) where id = 1001 + (1 + {n}) % 4
update t set a = null, b = null, c = null, d = null where id = 1001 + (2 + {n}) % 4
update t set a = left('plain', 20), b = 'plain', c = 'plain', d = repeat('plain', 300) where id = 1001 + (3 + {n}) % 4
update t set a = null, b = null, c = null, d = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
