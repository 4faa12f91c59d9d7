insert into t (id, a, b, c, d, e, f) values (100000 + {n}, 'é', 'é', 'é', 'é', 'é', 'é')
insert into t (id, a, b, c, d, e, f) values (200000 + {n}, '', '', '', '', '', '')
insert into t (id, a, b, c, d, e, f) values (300000 + {n}, 'a\\b', 'a\\b', 'a\\b', 'a\\b', 'a\\b', 'a\\b')
insert into t (id, a, b, c, d, e, f) values (400000 + {n}, 'x''y', 'x''y', 'x''y', 'x''y', 'x''y', 'x''y')
insert into t (id, a, b, c, d, e, f) values (500000 + {n}, null, null, null, null, null, null)
update t set a = '', b = '', c = '', d = '', e = '', f = '' where id = 1001 + (0 + {n}) % 5
update t set a = 'a\\b', b = 'a\\b', c = 'a\\b', d = 'a\\b', e = 'a\\b', f = 'a\\b' where id = 1001 + (1 + {n}) % 5
update t set a = 'x''y', b = 'x''y', c = 'x''y', d = 'x''y', e = 'x''y', f = 'x''y' where id = 1001 + (2 + {n}) % 5
update t set a = null, b = null, c = null, d = null, e = null, f = null where id = 1001 + (3 + {n}) % 5
update t set a = 'é', b = 'é', c = 'é', d = 'é', e = 'é', f = 'é' where id = 1001 + (4 + {n}) % 5
update t set a = null, b = null, c = null, d = null, e = null, f = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
