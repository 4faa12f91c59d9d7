update t set n = n + 1 where k = int4range(({n} % 300 + 1), ({n} % 300 + 1) + 5)
insert into t (k, v) values (int4range((1000 + {n}), (1000 + {n}) + 5), 'new {n}')
delete from t where k = int4range((1000 + {n} - 6), (1000 + {n} - 6) + 5)
update t set k = int4range((500000 + {n}), (500000 + {n}) + 5) where k = int4range((1000 + {n} - 2), (1000 + {n} - 2) + 5)
