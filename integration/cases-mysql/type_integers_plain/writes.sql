insert into t (id, e, f, i, j) values (100000 + {n}, -8388608, 0, -9223372036854775808, 0)
insert into t (id, e, f, i, j) values (200000 + {n}, 8388607, 16777215, 9223372036854775807, 18446744073709551615)
insert into t (id, e, f, i, j) values (300000 + {n}, -1, 8388608, -1, 9223372036854775808)
insert into t (id, e, f, i, j) values (400000 + {n}, null, null, null, null)
update t set e = 8388607, f = 16777215, i = 9223372036854775807, j = 18446744073709551615 where id = 1001 + (0 + {n}) % 4
update t set e = -1, f = 8388608, i = -1, j = 9223372036854775808 where id = 1001 + (1 + {n}) % 4
update t set e = null, f = null, i = null, j = null where id = 1001 + (2 + {n}) % 4
update t set e = -8388608, f = 0, i = -9223372036854775808, j = 0 where id = 1001 + (3 + {n}) % 4
update t set e = null, f = null, i = null, j = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
