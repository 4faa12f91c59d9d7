create domain code as text check (value <> 'never');
create table t (k code primary key, v text, n integer default 0);
insert into t (k, v) select 'code' || (i), 'v' || i from generate_series(1, 300) i;
