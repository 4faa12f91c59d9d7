update t set n = n + 1 where k = array[(({n} % 300 + 1)) % 7, ({n} % 300 + 1)]
insert into t (k, v) values (array[((1000 + {n})) % 7, (1000 + {n})], 'new {n}')
delete from t where k = array[((1000 + {n} - 6)) % 7, (1000 + {n} - 6)]
update t set k = array[((500000 + {n})) % 7, (500000 + {n})] where k = array[((1000 + {n} - 2)) % 7, (1000 + {n} - 2)]
