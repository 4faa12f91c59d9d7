create table t (k text not null unique, v text, n integer default 0);
insert into t (k, v) select 'k' || (i), 'v' || i from generate_series(1, 300) i;
