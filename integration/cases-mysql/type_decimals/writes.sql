insert into t (id, a, b, c, d, e, f) values (100000 + {n}, 99999999999999999999999999999999999.999999999999999999999999999999, -9999999999, 999.99, 0.999999999999999999999999999999, 9, -0.999999999)
insert into t (id, a, b, c, d, e, f) values (200000 + {n}, -99999999999999999999999999999999999.000000000000000000000000000001, 0, 0, -0.000000000000000000000000000001, -9, 0.000000001)
insert into t (id, a, b, c, d, e, f) values (300000 + {n}, 0, 5, 0.01, 0, 0, 0)
insert into t (id, a, b, c, d, e, f) values (400000 + {n}, null, null, null, null, null, null)
update t set a = -99999999999999999999999999999999999.000000000000000000000000000001, b = 0, c = 0, d = -0.000000000000000000000000000001, e = -9, f = 0.000000001 where id = 1001 + (0 + {n}) % 4
update t set a = 0, b = 5, c = 0.01, d = 0, e = 0, f = 0 where id = 1001 + (1 + {n}) % 4
update t set a = null, b = null, c = null, d = null, e = null, f = null where id = 1001 + (2 + {n}) % 4
update t set a = 99999999999999999999999999999999999.999999999999999999999999999999, b = -9999999999, c = 999.99, d = 0.999999999999999999999999999999, e = 9, f = -0.999999999 where id = 1001 + (3 + {n}) % 4
update t set a = null, b = null, c = null, d = null, e = null, f = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
