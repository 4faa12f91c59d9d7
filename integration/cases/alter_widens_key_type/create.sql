create table orders (
    id integer primary key,
    customer integer not null,
    email text not null,
    status text not null default 'new',
    amount numeric(12,2) not null default 0,
    note text,
    tags text[] default '{}',
    created timestamptz not null default '2026-01-01 00:00+00',
    constraint amount_positive check (amount >= 0)
);
create index orders_customer on orders (customer, created desc);
create unique index orders_email on orders (lower(email));
create index orders_open on orders (created) where status = 'new';
insert into orders (id, customer, email, status, amount, note, tags)
select i, i % 37, 'user' || i || '@example.org', (array['new', 'paid', 'sent'])[i % 3 + 1], i * 1.25, case when i % 4 > 0 then 'note ' || i end, array['t' || i % 5]
from generate_series(1, 400) i;
