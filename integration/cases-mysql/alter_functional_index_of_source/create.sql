-- Indexes over expressions are MySQL's.
create table orders (
    id bigint unsigned auto_increment primary key,
    customer int not null,
    email varchar(100) character set latin1 not null,
    status enum('new','paid','sent') not null default 'new',
    amount decimal(12,2) not null default 0,
    code varchar(20) default 'x',
    note text,
    flags set('a','b','c') default 'a',
    created datetime(3) not null default '2026-01-01',
    key by_customer (customer, created),
    unique key by_email (email), key by_half ((customer div 2)), key by_lower ((lower(code))),
    constraint check (amount >= 0)
);
insert into orders (customer, email, status, amount, code, note, flags)
with recursive s (i) as (select 1 union all select i + 1 from s where i < 300) select i % 37, concat('user', i, '@exämple.org'), elt(i % 3 + 1, 'new', 'paid', 'sent'), i * 1.25, i, if(i % 4, concat('note ', i), null), elt(i % 3 + 1, 'a', 'a,b', '') from s;
