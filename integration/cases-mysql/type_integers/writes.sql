insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l) values (100000 + {n}, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0, 0)
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l) values (200000 + {n}, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, 1, 99)
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l) values (300000 + {n}, -1, 128, -1, 32768, -1, 8388608, -1, 2147483648, -1, 9223372036854775808, null, 123456789)
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l) values (400000 + {n}, null, null, null, null, null, null, null, null, null, null, null, null)
update t set a = 127, b = 255, c = 32767, d = 65535, e = 8388607, f = 16777215, g = 2147483647, h = 4294967295, i = 9223372036854775807, j = 18446744073709551615, k = 1, l = 99 where id = 1001 + (0 + {n}) % 4
update t set a = -1, b = 128, c = -1, d = 32768, e = -1, f = 8388608, g = -1, h = 2147483648, i = -1, j = 9223372036854775808, k = null, l = 123456789 where id = 1001 + (1 + {n}) % 4
update t set a = null, b = null, c = null, d = null, e = null, f = null, g = null, h = null, i = null, j = null, k = null, l = null where id = 1001 + (2 + {n}) % 4
update t set a = -128, b = 0, c = -32768, d = 0, e = -8388608, f = 0, g = -2147483648, h = 0, i = -9223372036854775808, j = 0, k = 0, l = 0 where id = 1001 + (3 + {n}) % 4
update t set a = null, b = null, c = null, d = null, e = null, f = null, g = null, h = null, i = null, j = null, k = null, l = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
