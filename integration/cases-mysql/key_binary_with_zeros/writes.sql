update t set n = n + 1 where k = unhex(rpad(lpad(hex(({n} % 200 + 1)), 6, '0'), 16, '0'))
insert into t (k, v) values (unhex(rpad(lpad(hex((1000 + {n})), 6, '0'), 16, '0')), 'new {n}')
delete from t where k = unhex(rpad(lpad(hex((1000 + {n} - 6)), 6, '0'), 16, '0'))
update t set k = unhex(rpad(lpad(hex((500000 + {n})), 6, '0'), 16, '0')) where k = unhex(rpad(lpad(hex((1000 + {n} - 2)), 6, '0'), 16, '0'))
