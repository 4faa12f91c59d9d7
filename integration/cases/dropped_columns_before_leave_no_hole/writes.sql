update t set n = n + 1 where id = {n} % 300 + 1
insert into t (id, v) values (1000 + {n}, 'x')
