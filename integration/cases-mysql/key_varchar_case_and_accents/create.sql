create table t (k varchar(40) collate utf8mb4_general_ci primary key, n int default 0, later int default 1);
insert into t (k) with recursive s (i) as (select 1 union all select i + 1 from s where i < 150) select concat('Éa', i) from s;
insert into t (k) values ('straße'), ('Zoë'), ('b'), ('C'), ('a'), ('');
