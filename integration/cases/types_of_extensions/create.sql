create extension citext;
create extension hstore;
create extension ltree;
create extension cube;
create extension isn;
create extension seg;
create table t (
    id bigint primary key,
    a citext,
    b hstore,
    c ltree,
    d cube,
    e ean13,
    f seg,
    g citext[],
    h hstore[],
    touched integer
);
insert into t values
    (1, 'MiXed', 'a=>1, b=>NULL, "q"=>"\""', 'Top.Science.Astronomy', '(1,2),(3,4)', '978-0-393-04002-9', '1.5 .. 2.50', '{A,a,NULL}', array['a=>1'::hstore, null], 0),
    (2, '', '', '', '(0)', '978-0-393-04002-9', '~3', '{}', '{}', 0),
    (3, 'É', 'a=>1, b=>NULL, "q"=>"\""', 'Top.Science.Astronomy', '(1,2),(3,4)', '978-0-393-04002-9', '1.5 .. 2.50', '{A,a,NULL}', array['a=>1'::hstore, null], 0),
    (4, 'MiXed', '', '', '(0)', '978-0-393-04002-9', '~3', '{}', '{}', 0),
    (5, '', 'a=>1, b=>NULL, "q"=>"\""', 'Top.Science.Astronomy', '(1,2),(3,4)', '978-0-393-04002-9', '1.5 .. 2.50', '{A,a,NULL}', array['a=>1'::hstore, null], 0);
-- All NULL but the key.
insert into t (id) values (6);
-- Enough rows for several chunks to be on their way.
insert into t (id, a, b, c, d, e, f, g, h) select 100 + seq, a, b, c, d, e, f, g, h from generate_series(1, 60) seq join t on t.id = seq % 6 + 1;
