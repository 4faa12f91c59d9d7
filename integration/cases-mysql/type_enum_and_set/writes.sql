insert into t (id, a, b, c, d, e) values (100000 + {n}, 'one', 'x,y', 'a', 'm0,m63', 'e0')
insert into t (id, a, b, c, d, e) values (200000 + {n}, 'it''s', '', 'b', '', 'e255')
insert into t (id, a, b, c, d, e) values (300000 + {n}, 'a,b', 'a''b,ü', 'a', 18446744073709551615, 'e299')
insert into t (id, a, b, c, d, e) values (400000 + {n}, 'É', 'ü', 'b', 'm31,m32', 'e256')
insert into t (id, a, b, c, d, e) values (500000 + {n}, null, null, null, null, null)
update t set a = 'it''s', b = '', c = 'b', d = '', e = 'e255' where id = 1001 + (0 + {n}) % 5
update t set a = 'a,b', b = 'a''b,ü', c = 'a', d = 18446744073709551615, e = 'e299' where id = 1001 + (1 + {n}) % 5
update t set a = 'É', b = 'ü', c = 'b', d = 'm31,m32', e = 'e256' where id = 1001 + (2 + {n}) % 5
update t set a = null, b = null, c = null, d = null, e = null where id = 1001 + (3 + {n}) % 5
update t set a = 'one', b = 'x,y', c = 'a', d = 'm0,m63', e = 'e0' where id = 1001 + (4 + {n}) % 5
update t set a = null, b = null, c = null, d = null, e = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
