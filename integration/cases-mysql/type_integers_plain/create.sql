create table t (
    id int primary key,
    e mediumint,
    f mediumint unsigned,
    i bigint,
    j bigint unsigned
);
insert into t values
    (1, -8388608, 0, -9223372036854775808, 0),
    (2, 8388607, 16777215, 9223372036854775807, 18446744073709551615),
    (3, -1, 8388608, -1, 9223372036854775808),
    (4, null, null, null, null);
insert into t select id + 1000, e, f, i, j from t;
