create type kind as enum ('z', 'a', 'm');
create table t (kind kind default 'm', k bigint, v text, n integer default 0, primary key (kind, k));
insert into t (k, v) select (i), 'v' || i from generate_series(1, 300) i;
update t set kind = 'z' where k % 3 = 0;
update t set kind = 'a' where k % 3 = 1;
