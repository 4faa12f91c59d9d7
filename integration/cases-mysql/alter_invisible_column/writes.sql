insert into orders (id, note, hidden, seen) values (10 + {n}, 'y', {n}, 5)
update orders set hidden = hidden + 1 where id = {n} % 2 + 1
delete from orders where id = 8 + {n}
insert into orders (id) values (100000 + {n})
