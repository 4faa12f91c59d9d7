create table t (
    id bigint primary key,
    a aclitem,
    b regclass,
    c regtype,
    d regproc,
    e int2vector,
    f oidvector,
    g txid_snapshot,
    h pg_snapshot,
    i jsonpath,
    j tid,
    k aclitem[],
    l refcursor,
    touched integer
);
insert into t values
    (1, 'postgres=r/postgres', 'pg_class', 'integer', 'pg_catalog.now', '1 2 3', '1 2 3', '10:20:10,14,15', '10:20:10,14,15', '$.a[*] ? (@ > 1)', '(0,1)', '{postgres=r/postgres,=w/postgres}', 'portal', 0),
    (2, '=w/postgres', 'pg_catalog.pg_type', 'timestamp with time zone', 'pg_catalog.now', '', '1 2 3', '10:20:10,14,15', '10:20:10,14,15', 'strict $', '(4294967295,65535)', '{}', '', 0),
    (3, 'postgres=r/postgres', 'pg_class', 'integer', 'pg_catalog.now', '1 2 3', '1 2 3', '10:20:10,14,15', '10:20:10,14,15', '$.a[*] ? (@ > 1)', '(0,1)', '{postgres=r/postgres,=w/postgres}', 'portal', 0),
    (4, '=w/postgres', 'pg_catalog.pg_type', 'timestamp with time zone', 'pg_catalog.now', '', '1 2 3', '10:20:10,14,15', '10:20:10,14,15', 'strict $', '(4294967295,65535)', '{}', '', 0),
    (5, 'postgres=r/postgres', 'pg_class', 'integer', 'pg_catalog.now', '1 2 3', '1 2 3', '10:20:10,14,15', '10:20:10,14,15', '$.a[*] ? (@ > 1)', '(0,1)', '{postgres=r/postgres,=w/postgres}', 'portal', 0);
-- All NULL but the key.
insert into t (id) values (6);
-- Enough rows for several chunks to be on their way.
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l) select 100 + seq, a, b, c, d, e, f, g, h, i, j, k, l from generate_series(1, 60) seq join t on t.id = seq % 6 + 1;
