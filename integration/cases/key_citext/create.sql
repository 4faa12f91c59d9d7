create extension citext;
create table t (k citext primary key, v text, n integer default 0);
insert into t (k, v) select 'Code' || (i), 'v' || i from generate_series(1, 300) i;
