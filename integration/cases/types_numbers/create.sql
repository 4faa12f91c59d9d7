create table t (
    id bigint primary key,
    a smallint,
    b integer,
    c bigint,
    d real,
    e double precision,
    f numeric,
    g numeric(20,4),
    h money,
    i boolean,
    j oid,
    k "char",
    l xid,
    m xid8,
    n pg_lsn,
    o integer[],
    p numeric(6,2)[],
    q double precision[],
    touched integer
);
insert into t values
    (1, -32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', 'NaN', -9999999999999999.9999, '-92233720368547758.08', true, 0, 'a', '0', '0', '0/0', '{}', '{NaN,1.5}', '{NaN,Infinity,-Infinity,-0}', 0),
    (2, 32767, 2147483647, 9223372036854775807, 'Infinity', 'Infinity', 'Infinity', 0.0001, '92233720368547758.07', false, 4294967295, '', '4294967295', '18446744073709551615', 'FFFFFFFF/FFFFFFFF', '{1,2,NULL}', '{}', '{}', 0),
    (3, 0, 0, 0, '-Infinity', '-Infinity', '-Infinity', 'NaN', 0, null, 1, '\', '3', '3', '16/B374D848', '[-2:0]={7,8,9}', '{-1.25,NULL}', '{NaN,Infinity,-Infinity,-0}', 0),
    (4, 1, 1, 1, '-0', 0.1::float8 + 0.2::float8, 1.50000, 0, 1, true, 26, '"', '0', '0', '0/0', '{{1,2},{3,4}}', '{NaN,1.5}', '{}', 0),
    (5, -1, -1, -1, '1.17549435e-38', '2.2250738585072014e-308', repeat('9', 400)::numeric, 1, 12.5, false, 5, '\377', '4294967295', '18446744073709551615', 'FFFFFFFF/FFFFFFFF', null, '{}', '{NaN,Infinity,-Infinity,-0}', 0);
-- All NULL but the key.
insert into t (id) values (6);
-- Enough rows for several chunks to be on their way.
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q) select 100 + seq, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q from generate_series(1, 60) seq join t on t.id = seq % 6 + 1;
