insert into t (id, a) values (100000 + {n}, '{"a": [1, 2.50, "ü\\\\"], "b": null}')
insert into t (id, a) values (200000 + {n}, '[]')
insert into t (id, a) values (300000 + {n}, '"text"')
insert into t (id, a) values (400000 + {n}, '1')
insert into t (id, a) values (500000 + {n}, '{"k": {"n": 12345678901234567890, "d": 1e10}}')
insert into t (id, a) values (600000 + {n}, null)
update t set a = '[]' where id = 1001 + (0 + {n}) % 6
update t set a = '"text"' where id = 1001 + (1 + {n}) % 6
update t set a = '1' where id = 1001 + (2 + {n}) % 6
update t set a = '{"k": {"n": 12345678901234567890, "d": 1e10}}' where id = 1001 + (3 + {n}) % 6
update t set a = null where id = 1001 + (4 + {n}) % 6
update t set a = '{"a": [1, 2.50, "ü\\\\"], "b": null}' where id = 1001 + (5 + {n}) % 6
update t set a = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
