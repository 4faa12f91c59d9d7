update t set c0 = {n}, c397 = 'x{n}' where id = {n} % 300 + 1
insert into t (id, c396) values (1000 + {n}, {n})
