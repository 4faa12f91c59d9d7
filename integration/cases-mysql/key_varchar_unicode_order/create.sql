create table t (k varchar(40) collate utf8mb4_unicode_ci primary key, n int default 0);
insert into t (k) with recursive s (i) as (select 1 union all select i + 1 from s where i < 150) select concat(elt(i % 5 + 1, 'z', 'Æ', 'ö', 'a-', '中'), i) from s;
