update t set n = n + 1 where k = 18446744073709551615 - ({n} % 200 + 1)
insert into t (k, v) values (18446744073709551615 - (1000 + {n}), 'new {n}')
delete from t where k = 18446744073709551615 - (1000 + {n} - 6)
update t set k = 18446744073709551615 - (500000 + {n}) where k = 18446744073709551615 - (1000 + {n} - 2)
