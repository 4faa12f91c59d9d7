create table t (id bigint primary key, v text) partition by range (id);
create table t1 partition of t for values from (0) to (1000);
insert into t select i, 'v' from generate_series(1, 100) i;
