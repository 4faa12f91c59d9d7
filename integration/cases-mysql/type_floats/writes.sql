insert into t (id, a, b, c) values (100000 + {n}, 3.402823466e38, 1.7976931348623157e308, -1.7976931348623157e308)
insert into t (id, a, b, c) values (200000 + {n}, -3.402823466e38, -1.7976931348623157e308, 2.2250738585072014e-308)
insert into t (id, a, b, c) values (300000 + {n}, 1.175494351e-38, 2.2250738585072014e-308, 0.1)
insert into t (id, a, b, c) values (400000 + {n}, 0.1, 0.1, 1e23)
insert into t (id, a, b, c) values (500000 + {n}, 16777217, 9007199254740993, -0e0)
insert into t (id, a, b, c) values (600000 + {n}, -0e0, -0e0, 123456789.123456789)
insert into t (id, a, b, c) values (700000 + {n}, 1.1, 3.141592653589793, 5e-324)
update t set a = -3.402823466e38, b = -1.7976931348623157e308, c = 2.2250738585072014e-308 where id = 1001 + (0 + {n}) % 7
update t set a = 1.175494351e-38, b = 2.2250738585072014e-308, c = 0.1 where id = 1001 + (1 + {n}) % 7
update t set a = 0.1, b = 0.1, c = 1e23 where id = 1001 + (2 + {n}) % 7
update t set a = 16777217, b = 9007199254740993, c = -0e0 where id = 1001 + (3 + {n}) % 7
update t set a = -0e0, b = -0e0, c = 123456789.123456789 where id = 1001 + (4 + {n}) % 7
update t set a = 1.1, b = 3.141592653589793, c = 5e-324 where id = 1001 + (5 + {n}) % 7
update t set a = 3.402823466e38, b = 1.7976931348623157e308, c = -1.7976931348623157e308 where id = 1001 + (6 + {n}) % 7
update t set a = null, b = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
