update t set n = n + 1 where k = chr(33 + ({n} % 300 + 1) % 90) || '/' || ({n} % 300 + 1)
insert into t (k, v) values (chr(33 + (1000 + {n}) % 90) || '/' || (1000 + {n}), 'new {n}')
delete from t where k = chr(33 + (1000 + {n} - 6) % 90) || '/' || (1000 + {n} - 6)
update t set k = chr(33 + (500000 + {n}) % 90) || '/' || (500000 + {n}) where k = chr(33 + (1000 + {n} - 2) % 90) || '/' || (1000 + {n} - 2)
