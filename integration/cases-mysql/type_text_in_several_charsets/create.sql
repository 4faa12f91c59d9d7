create table t (
    id int primary key,
    a varchar(30) character set latin1,
    b varchar(30) character set utf8mb4,
    c varchar(30) character set utf16,
    d tinytext character set ucs2,
    e mediumtext character set utf32,
    f varchar(30) character set utf8mb3
);
insert into t values
    (1, 'é', 'é', 'é', 'é', 'é', 'é'),
    (2, '', '', '', '', '', ''),
    (3, 'a\\b', 'a\\b', 'a\\b', 'a\\b', 'a\\b', 'a\\b'),
    (4, 'x''y', 'x''y', 'x''y', 'x''y', 'x''y', 'x''y'),
    (5, null, null, null, null, null, null);
insert into t select id + 1000, a, b, c, d, e, f from t;
