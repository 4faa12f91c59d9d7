create table t (k int, n int, unique key by_k (k));
insert into t values (1, 1), (null, 2), (null, 3);
