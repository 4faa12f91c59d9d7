create table t (k enum('c','b','a') primary key, n int);
insert into t values ('a', 1), ('b', 2);
