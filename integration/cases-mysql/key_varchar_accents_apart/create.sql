create table t (k varchar(40) collate utf8mb4_bin primary key, n int default 0);
insert into t (k) values ('a'), ('A'), ('á'), ('ä'), ('Ä'), ('ß'), ('ss'), ('e'), ('é');
