insert into t (id, a, b) values (100000 + {n}, to_vector('[1, 2.5, -3e10, 0]'), to_vector('[1]'))
insert into t (id, a, b) values (200000 + {n}, to_vector('[0, 0, 0, 0]'), to_vector('[1, 2, 3]'))
insert into t (id, a, b) values (300000 + {n}, null, null)
update t set a = to_vector('[0, 0, 0, 0]'), b = to_vector('[1, 2, 3]') where id = 1001 + (0 + {n}) % 3
update t set a = null, b = null where id = 1001 + (1 + {n}) % 3
update t set a = to_vector('[1, 2.5, -3e10, 0]'), b = to_vector('[1]') where id = 1001 + (2 + {n}) % 3
update t set a = null, b = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
