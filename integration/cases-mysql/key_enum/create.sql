create table t (k enum('c','b','a','it''s') primary key, n int);
insert into t values ('a', 1), ('b', 2), ('it''s', 3);
