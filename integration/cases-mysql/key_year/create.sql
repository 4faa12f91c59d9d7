create table t (k year primary key, n int);
insert into t values (0, 1), (1901, 2), (2000, 3), (2026, 4), (2155, 5);
