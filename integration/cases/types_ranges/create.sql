create type floats as range (subtype = float8, subtype_diff = float8mi, multirange_type_name = floats_many);
create table t (
    id bigint primary key,
    a int4range,
    b int8range,
    c numrange,
    d tsrange,
    e tstzrange,
    f daterange,
    g int4multirange,
    h nummultirange,
    i tstzmultirange,
    j datemultirange,
    k floats,
    l floats_many,
    m int4range[],
    touched integer
);
insert into t values
    (1, 'empty', 'empty', 'empty', '[2026-01-01,infinity]', '[2026-01-01 00:00+02,infinity)', '[2026-01-01,2026-02-01]', '{}', '{[1.5,2.5),(3,4]}', '{[2026-01-01 00:00+02,2026-01-02 00:00+02)}', '{[2026-01-01,2026-02-01)}', '[1.5,2.5]', '{[1.5,2.5],(7,8)}', '{"[1,3)",empty,NULL}', 0),
    (2, '[1,10)', '[-9223372036854775808,9223372036854775807)', '[1.50,NaN]', '[,"2026-01-01 12:00")', 'empty', '[-infinity,infinity]', '{[1,3),[5,8)}', '{}', '{}', '{}', 'empty', '{}', '{}', 0),
    (3, '(,)', 'empty', '(0.1,Infinity)', '[2026-01-01,infinity]', '[2026-01-01 00:00+02,infinity)', '[2026-01-01,2026-02-01]', '{(,)}', '{[1.5,2.5),(3,4]}', '{[2026-01-01 00:00+02,2026-01-02 00:00+02)}', '{[2026-01-01,2026-02-01)}', '[1.5,2.5]', '{[1.5,2.5],(7,8)}', '{"[1,3)",empty,NULL}', 0),
    (4, '[5,]', '[-9223372036854775808,9223372036854775807)', 'empty', '[,"2026-01-01 12:00")', 'empty', '[-infinity,infinity]', '{}', '{}', '{}', '{}', 'empty', '{}', '{}', 0),
    (5, 'empty', 'empty', '[1.50,NaN]', '[2026-01-01,infinity]', '[2026-01-01 00:00+02,infinity)', '[2026-01-01,2026-02-01]', '{[1,3),[5,8)}', '{[1.5,2.5),(3,4]}', '{[2026-01-01 00:00+02,2026-01-02 00:00+02)}', '{[2026-01-01,2026-02-01)}', '[1.5,2.5]', '{[1.5,2.5],(7,8)}', '{"[1,3)",empty,NULL}', 0);
-- All NULL but the key.
insert into t (id) values (6);
-- Enough rows for several chunks to be on their way.
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l, m) select 100 + seq, a, b, c, d, e, f, g, h, i, j, k, l, m from generate_series(1, 60) seq join t on t.id = seq % 6 + 1;
