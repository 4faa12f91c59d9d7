create table t (
    id bigint primary key,
    a text,
    b varchar(20),
    c char(10),
    d name,
    e bytea,
    f uuid,
    g bit(5),
    h bit varying,
    i bit varying(9),
    j json,
    k jsonb,
    l tsvector,
    m tsquery,
    n text[],
    o bytea[],
    p jsonb[],
    q uuid[],
    r char(3)[],
    touched integer
);
insert into t values
    (1, '', '', '', '', '', '00000000-0000-0000-0000-000000000000', '00000', '', '', '{"b": 1,  "a": [1, 2, null], "b": 2}', '{"b": 1, "a": [1, 2, null], "n": 1.50}', '', '', '{}', '{"\\x00","\\xff",NULL}', array['{"a": 1}'::jsonb, null, 'null'], '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{a,bc,NULL}', 0),
    (2, E'tab\tnewline\ncarriage\rreturn\\backslash', '  trailing  ', '  x', 'pg_catalog', '\x00', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '11111', '1', '101010101', 'null', 'null', 'a fat cat sat on a mat', 'fat & (rat | !cat)', '{"",NULL,"NULL","a,b","\"q\"","{}"}', '{}', '{}', '{}', '{}', 0),
    (3, 'N', E'\\.', '1234567890', repeat('n', 63), '\x00ff5c27220a0d09', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10101', repeat('10', 50)::bit varying, '0', '"\u00e9"', '"é😀"', to_tsvector('english', 'The quick brown foxes'), 'super:*A <-> star', '{{a,b},{c,d}}', '{"\\x00","\\xff",NULL}', array['{"a": 1}'::jsonb, null, 'null'], '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{a,bc,NULL}', 0),
    (4, E'\\N', '12345678901234567890', 'é', '', decode(repeat('00', 3000), 'hex'), '00000000-0000-0000-0000-000000000000', '00000', '', '', '[]', '{}', 'a:1A b:2B,3C', '', '{}', '{}', '{}', '{}', '{}', 0),
    (5, 'ü€😀 “quotes” ''single'' "double"', 'null', 'NULL', 'pg_catalog', '\xdeadbeef', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '11111', '1', '101010101', '  {"kept" : "spaces"} ', '12345678901234567890.123', '', 'fat & (rat | !cat)', '{"",NULL,"NULL","a,b","\"q\"","{}"}', '{"\\x00","\\xff",NULL}', array['{"a": 1}'::jsonb, null, 'null'], '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{a,bc,NULL}', 0);
-- All NULL but the key.
insert into t (id) values (6);
-- Enough rows for several chunks to be on their way.
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r) select 100 + seq, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r from generate_series(1, 60) seq join t on t.id = seq % 6 + 1;
