create table t (
    id int primary key,
    a char(20) character set latin1 collate latin1_swedish_ci,
    b varchar(200) character set latin1 collate latin1_swedish_ci,
    c text character set latin1 collate latin1_swedish_ci,
    d longtext character set latin1 collate latin1_swedish_ci
);
insert into t values
    (1, left('Ünïcode, \'quotes\' and \\backslash\\', 20), 'Ünïcode, \'quotes\' and \\backslash\\', 'Ünïcode, \'quotes\' and \\backslash\\', repeat('Ünïcode, \'quotes\' and \\backslash\\', 300)),
    (2, left('', 20), '', '', repeat('', 300)),
    (3, left(' spaces around  ', 20), ' spaces around  ', ' spaces around  ', repeat(' spaces around  ', 300)),
    (4, left('a\nb\tc\0d', 20), 'a\nb\tc\0d', 'a\nb\tc\0d', repeat('a\nb\tc\0d', 300)),
    (5, left(convert(x'80ff9fe9' using latin1), 20), convert(x'80ff9fe9' using latin1), convert(x'80ff9fe9' using latin1), repeat(convert(x'80ff9fe9' using latin1), 300)),
    (6, left(_latin1 x'8182a09d', 20), _latin1 x'8182a09d', _latin1 x'8182a09d', repeat(_latin1 x'8182a09d', 300)),
    (7, null, null, null, null);
insert into t select id + 1000, a, b, c, d from t;
