update sales.orders set n = n + 1 where id = {n} % 300 + 1
insert into sales.orders (v) values ('new{n}')
delete from sales.orders where v = 'new' || ({n} - 5)
