insert into t (id, a, b, c, d) values (100000 + {n}, left('Ünïcode, \'quotes\' and \\backslash\\', 20), 'Ünïcode, \'quotes\' and \\backslash\\', 'Ünïcode, \'quotes\' and \\backslash\\', repeat('Ünïcode, \'quotes\' and \\backslash\\', 300))
insert into t (id, a, b, c, d) values (200000 + {n}, left('', 20), '', '', repeat('', 300))
insert into t (id, a, b, c, d) values (300000 + {n}, left(' spaces around  ', 20), ' spaces around  ', ' spaces around  ', repeat(' spaces around  ', 300))
insert into t (id, a, b, c, d) values (400000 + {n}, left('a\nb\tc\0d', 20), 'a\nb\tc\0d', 'a\nb\tc\0d', repeat('a\nb\tc\0d', 300))
insert into t (id, a, b, c, d) values (500000 + {n}, left('日本語 😀', 20), '日本語 😀', '日本語 😀', repeat('日本語 😀', 300))
insert into t (id, a, b, c, d) values (600000 + {n}, null, null, null, null)
update t set a = left('', 20), b = '', c = '', d = repeat('', 300) where id = 1001 + (0 + {n}) % 6
update t set a = left(' spaces around  ', 20), b = ' spaces around  ', c = ' spaces around  ', d = repeat(' spaces around  ', 300) where id = 1001 + (1 + {n}) % 6
update t set a = left('a\nb\tc\0d', 20), b = 'a\nb\tc\0d', c = 'a\nb\tc\0d', d = repeat('a\nb\tc\0d', 300) where id = 1001 + (2 + {n}) % 6
update t set a = left('日本語 😀', 20), b = '日本語 😀', c = '日本語 😀', d = repeat('日本語 😀', 300) where id = 1001 + (3 + {n}) % 6
update t set a = null, b = null, c = null, d = null where id = 1001 + (4 + {n}) % 6
update t set a = left('Ünïcode, \'quotes\' and \\backslash\\', 20), b = 'Ünïcode, \'quotes\' and \\backslash\\', c = 'Ünïcode, \'quotes\' and \\backslash\\', d = repeat('Ünïcode, \'quotes\' and \\backslash\\', 300) where id = 1001 + (5 + {n}) % 6
update t set a = null, b = null, c = null, d = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
