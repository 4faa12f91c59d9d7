insert into t (id, a, b, c, d) values (100000 + {n}, left('日本語', 20), '日本語', '日本語', repeat('日本語', 300))
insert into t (id, a, b, c, d) values (200000 + {n}, left(_cp932 x'835c', 20), _cp932 x'835c', _cp932 x'835c', repeat(_cp932 x'835c', 300))
insert into t (id, a, b, c, d) values (300000 + {n}, left(_cp932 x'955c27', 20), _cp932 x'955c27', _cp932 x'955c27', repeat(_cp932 x'955c27', 300))
insert into t (id, a, b, c, d) values (400000 + {n}, left('', 20), '', '', repeat('', 300))
insert into t (id, a, b, c, d) values (500000 + {n}, null, null, null, null)
update t set a = left(_cp932 x'835c', 20), b = _cp932 x'835c', c = _cp932 x'835c', d = repeat(_cp932 x'835c', 300) where id = 1001 + (0 + {n}) % 5
update t set a = left(_cp932 x'955c27', 20), b = _cp932 x'955c27', c = _cp932 x'955c27', d = repeat(_cp932 x'955c27', 300) where id = 1001 + (1 + {n}) % 5
update t set a = left('', 20), b = '', c = '', d = repeat('', 300) where id = 1001 + (2 + {n}) % 5
update t set a = null, b = null, c = null, d = null where id = 1001 + (3 + {n}) % 5
update t set a = left('日本語', 20), b = '日本語', c = '日本語', d = repeat('日本語', 300) where id = 1001 + (4 + {n}) % 5
update t set a = null, b = null, c = null, d = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
