create table t (
    id int primary key,
    a binary(8),
    b varbinary(20),
    c tinyblob,
    d blob,
    e mediumblob,
    f longblob,
    g binary(1)
);
insert into t values
    (1, x'0102000000000000', x'010200', x'00', x'275c00', x'5c27220a0d1a00ff', x'ffd8ffe0', x'00'),
    (2, x'0000000000000000', x'00', '', '', '', '', x'20'),
    (3, x'2000202020202020', x'2020', x'20', x'e28080', repeat(x'00ff275c', 500), repeat(x'deadbeef', 5000), x'5c'),
    (4, x'01', 'a', 'b', 'c', 'd', 'e', x'27'),
    (5, null, null, null, null, null, null, null);
insert into t select id + 1000, a, b, c, d, e, f, g from t;
