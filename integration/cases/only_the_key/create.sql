create table t (id bigint primary key);
insert into t select generate_series(1, 300);
