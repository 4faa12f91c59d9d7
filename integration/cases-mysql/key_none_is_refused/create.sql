create table t (k int, n int, key (k));
insert into t values (1, 1), (1, 2);
