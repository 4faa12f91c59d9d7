insert into t (id, a, b, c, d, e, f, g) values (100000 + {n}, x'0102000000000000', x'010200', x'00', x'275c00', x'5c27220a0d1a00ff', x'ffd8ffe0', x'00')
insert into t (id, a, b, c, d, e, f, g) values (200000 + {n}, x'0000000000000000', x'00', '', '', '', '', x'20')
insert into t (id, a, b, c, d, e, f, g) values (300000 + {n}, x'2000202020202020', x'2020', x'20', x'e28080', repeat(x'00ff275c', 500), repeat(x'deadbeef', 5000), x'5c')
insert into t (id, a, b, c, d, e, f, g) values (400000 + {n}, x'01', 'a', 'b', 'c', 'd', 'e', x'27')
insert into t (id, a, b, c, d, e, f, g) values (500000 + {n}, null, null, null, null, null, null, null)
update t set a = x'0000000000000000', b = x'00', c = '', d = '', e = '', f = '', g = x'20' where id = 1001 + (0 + {n}) % 5
update t set a = x'2000202020202020', b = x'2020', c = x'20', d = x'e28080', e = repeat(x'00ff275c', 500), f = repeat(x'deadbeef', 5000), g = x'5c' where id = 1001 + (1 + {n}) % 5
update t set a = x'01', b = 'a', c = 'b', d = 'c', e = 'd', f = 'e', g = x'27' where id = 1001 + (2 + {n}) % 5
update t set a = null, b = null, c = null, d = null, e = null, f = null, g = null where id = 1001 + (3 + {n}) % 5
update t set a = x'0102000000000000', b = x'010200', c = x'00', d = x'275c00', e = x'5c27220a0d1a00ff', f = x'ffd8ffe0', g = x'00' where id = 1001 + (4 + {n}) % 5
update t set a = null, b = null, c = null, d = null, e = null, f = null, g = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
