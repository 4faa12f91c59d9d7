create table t (id bigint unique, v text);
insert into t select i, 'v' || i from generate_series(1, 300) i;
