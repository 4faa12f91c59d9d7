create table t (k float primary key, n int);
insert into t values (0.1, 1), (1.5, 2);
