create table t (k varchar(50) not null, n int, unique key by_k (k(3)));
insert into t values ('abc', 1);
