update t set n = n + 1 where k = 'Code' || ({n} % 300 + 1)
insert into t (k, v) values ('Code' || (1000 + {n}), 'new {n}')
delete from t where k = 'Code' || (1000 + {n} - 6)
update t set k = 'Code' || (500000 + {n}) where k = 'Code' || (1000 + {n} - 2)
-- Another spelling of the same key.
update t set k = upper(k) where k = 'code' || ({n} % 300 + 1)
