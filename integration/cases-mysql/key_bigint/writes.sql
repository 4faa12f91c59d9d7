update t set n = n + 1 where k = -9223372036854775808 + ({n} % 200 + 1)
insert into t (k, v) values (-9223372036854775808 + (1000 + {n}), 'new {n}')
delete from t where k = -9223372036854775808 + (1000 + {n} - 6)
update t set k = -9223372036854775808 + (500000 + {n}) where k = -9223372036854775808 + (1000 + {n} - 2)
