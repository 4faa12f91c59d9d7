create type mood as enum ('sad', 'ok', 'happy; or "so"');
create domain positive as integer check (value > 0);
create domain positive_list as positive[];
create domain twice as positive check (value <> 4);
create domain email as text collate "C" default 'nobody@example.org';
create type pair as (n integer, words text);
create type nested as (inner_pair pair, moods mood[], doc jsonb);
create schema odd;
create type odd."Type Name" as enum ('first', 'second value');
create table t (
    id bigint primary key,
    a mood,
    b mood[],
    c positive,
    d positive_list,
    e pair,
    f pair[],
    g nested,
    h odd."Type Name",
    i email,
    j twice,
    touched integer
);
insert into t values
    (1, 'sad', '{sad,ok,NULL}', 1, '{1,2}', row(1, 'a,b'), array[row(1, 'x')::pair, null], row(row(1, 'y'), array['sad'::mood, 'ok'], '{"k": [1]}'), 'first', 'Someone@Example.org', 3, 0),
    (2, 'ok', '{}', 2147483647, '{}', row(null, null), '{}', row(null, null, null), 'second value', '', 5, 0),
    (3, 'happy; or "so"', '{sad,ok,NULL}', 1, '{1,2}', row(2, '"q" (x)'), array[row(1, 'x')::pair, null], row(row(1, 'y'), array['sad'::mood, 'ok'], '{"k": [1]}'), 'first', 'Someone@Example.org', 3, 0),
    (4, 'sad', '{}', 2147483647, '{}', row(1, 'a,b'), '{}', row(null, null, null), 'second value', '', 5, 0),
    (5, 'ok', '{sad,ok,NULL}', 1, '{1,2}', row(null, null), array[row(1, 'x')::pair, null], row(row(1, 'y'), array['sad'::mood, 'ok'], '{"k": [1]}'), 'first', 'Someone@Example.org', 3, 0);
-- All NULL but the key.
insert into t (id) values (6);
-- Enough rows for several chunks to be on their way.
insert into t (id, a, b, c, d, e, f, g, h, i, j) select 100 + seq, a, b, c, d, e, f, g, h, i, j from generate_series(1, 60) seq join t on t.id = seq % 6 + 1;
