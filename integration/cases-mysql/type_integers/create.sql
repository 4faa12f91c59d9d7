create table t (
    id int primary key,
    a tinyint,
    b tinyint unsigned,
    c smallint,
    d smallint unsigned,
    e mediumint,
    f mediumint unsigned,
    g int,
    h int unsigned,
    i bigint,
    j bigint unsigned,
    k bool,
    l int(8) zerofill
);
insert into t values
    (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0, 0),
    (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, 1, 99),
    (3, -1, 128, -1, 32768, -1, 8388608, -1, 2147483648, -1, 9223372036854775808, null, 123456789),
    (4, null, null, null, null, null, null, null, null, null, null, null, null);
insert into t select id + 1000, a, b, c, d, e, f, g, h, i, j, k, l from t;
