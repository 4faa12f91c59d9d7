create table t (
    id int primary key,
    a char(20) character set utf8mb4 collate utf8mb4_general_ci,
    b varchar(200) character set utf8mb4 collate utf8mb4_general_ci,
    c text character set utf8mb4 collate utf8mb4_general_ci,
    d longtext character set utf8mb4 collate utf8mb4_general_ci
);
insert into t values
    (1, left('Ünïcode, \'quotes\' and \\backslash\\', 20), 'Ünïcode, \'quotes\' and \\backslash\\', 'Ünïcode, \'quotes\' and \\backslash\\', repeat('Ünïcode, \'quotes\' and \\backslash\\', 300)),
    (2, left('', 20), '', '', repeat('', 300)),
    (3, left(' spaces around  ', 20), ' spaces around  ', ' spaces around  ', repeat(' spaces around  ', 300)),
    (4, left('a\nb\tc\0d', 20), 'a\nb\tc\0d', 'a\nb\tc\0d', repeat('a\nb\tc\0d', 300)),
    (5, left('日本語 😀 𐍈', 20), '日本語 😀 𐍈', '日本語 😀 𐍈', repeat('日本語 😀 𐍈', 300)),
    (6, null, null, null, null);
insert into t select id + 1000, a, b, c, d from t;
