create table t (k bigint primary key, v text not null unique, n integer default 0);
alter table t replica identity using index t_v_key;
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
