update t set n = n + 1 where k = row(({n} % 300 + 1) % 9, 'x' || ({n} % 300 + 1))::pair
insert into t (k, v) values (row((1000 + {n}) % 9, 'x' || (1000 + {n}))::pair, 'new {n}')
delete from t where k = row((1000 + {n} - 6) % 9, 'x' || (1000 + {n} - 6))::pair
update t set k = row((500000 + {n}) % 9, 'x' || (500000 + {n}))::pair where k = row((1000 + {n} - 2) % 9, 'x' || (1000 + {n} - 2))::pair
