insert into t (id, a, b, c) values (100000 + {n}, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '192.168.0.1')
insert into t (id, a, b, c) values (200000 + {n}, '00000000-0000-0000-0000-000000000000', '::', '0.0.0.0')
insert into t (id, a, b, c) values (300000 + {n}, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '::ffff:192.0.2.128', '255.255.255.255')
insert into t (id, a, b, c) values (400000 + {n}, null, null, null)
update t set a = '00000000-0000-0000-0000-000000000000', b = '::', c = '0.0.0.0' where id = 1001 + (0 + {n}) % 4
update t set a = 'ffffffff-ffff-ffff-ffff-ffffffffffff', b = '::ffff:192.0.2.128', c = '255.255.255.255' where id = 1001 + (1 + {n}) % 4
update t set a = null, b = null, c = null where id = 1001 + (2 + {n}) % 4
update t set a = '123e4567-e89b-12d3-a456-426655440000', b = '2001:db8::ff00:42:8329', c = '192.168.0.1' where id = 1001 + (3 + {n}) % 4
update t set a = null, b = null, c = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
