-- A collation that tells accents apart and pads nothing: MySQL has it.
create table t (k varchar(40) collate utf8mb4_0900_as_ci primary key, n int default 0);
insert into t (k) values ('a'), ('á'), ('ä'), ('e'), ('É'), ('a '), ('z');
