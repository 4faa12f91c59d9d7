update t set n = n + 1 where k = 'Key-' || ({n} % 300 + 1)
insert into t (k, v) values ('Key-' || (1000 + {n}), 'new {n}')
delete from t where k = 'Key-' || (1000 + {n} - 6)
update t set k = 'Key-' || (500000 + {n}) where k = 'Key-' || (1000 + {n} - 2)
-- Another spelling of the same key.
update t set k = upper(k) where k = 'KEY-' || ({n} % 300 + 1)
delete from t where k = 'kEY-' || (300 - {n} % 50)
