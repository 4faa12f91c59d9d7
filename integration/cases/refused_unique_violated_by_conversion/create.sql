create table t (id bigint primary key, v text unique);
insert into t select i, 'v' || i from generate_series(1, 100) i;
insert into t values (201, 'V7');
