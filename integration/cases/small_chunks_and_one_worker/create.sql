create table t (id bigint primary key, v text);
insert into t select i, 'v' || i from generate_series(1, 20000) i;
