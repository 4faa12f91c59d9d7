create table t (k varchar(40) collate utf8mb4_general_ci, b int, n int default 0, primary key (k, b));
insert into t values ('a', 1, 0), ('a ', 2, 0), ('a  ', 3, 0), ('', 1, 0), (' ', 2, 0), ('A', 4, 0), ('a\t', 1, 0);
