create table customer (id bigint primary key);
create table t (id bigint primary key, v text, n integer);
insert into t select i, 'v' || i, i from generate_series(1, 300) i;
alter table t add column customer bigint references customer;
