create table t (id int primary key, n int);
insert into t values (0, 1);
