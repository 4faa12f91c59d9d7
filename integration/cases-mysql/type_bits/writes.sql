insert into t (id, a, b, c) values (100000 + {n}, b'1', 0xffffffffffffffff, b'1111111111111')
insert into t (id, a, b, c) values (200000 + {n}, b'0', b'0', b'0')
insert into t (id, a, b, c) values (300000 + {n}, b'1', 0x8000000000000001, b'1000000000001')
insert into t (id, a, b, c) values (400000 + {n}, null, null, null)
update t set a = b'0', b = b'0', c = b'0' where id = 1001 + (0 + {n}) % 4
update t set a = b'1', b = 0x8000000000000001, c = b'1000000000001' where id = 1001 + (1 + {n}) % 4
update t set a = null, b = null, c = null where id = 1001 + (2 + {n}) % 4
update t set a = b'1', b = 0xffffffffffffffff, c = b'1111111111111' where id = 1001 + (3 + {n}) % 4
update t set a = null, b = null, c = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
