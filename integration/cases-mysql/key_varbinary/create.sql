create table t (k varbinary(20) not null, v varchar(100), n int default 0, primary key (k));
insert into t (k, v) with recursive s (i) as (select 1 union all select i + 1 from s where i < 200) select concat(x'00', unhex(lpad(hex(i), 6, '0')), x'00'), concat('v', i) from s;
