create table orders (
    id bigint unsigned auto_increment primary key,
    customer int not null,
    code varchar(20)
);
insert into orders (customer, code)
with recursive s (i) as (select 1 union all select i + 1 from s where i < 300) select i % 37, i from s;
