create type pair as (a integer, b text);
create table t (k pair primary key, v text, n integer default 0);
insert into t (k, v) select row((i) % 9, 'x' || (i))::pair, 'v' || i from generate_series(1, 300) i;
