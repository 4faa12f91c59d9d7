update t set n = n + 1 where k = decode(lpad(to_hex(({n} % 300 + 1)), 8, '0'), 'hex')
insert into t (k, v) values (decode(lpad(to_hex((1000 + {n})), 8, '0'), 'hex'), 'new {n}')
delete from t where k = decode(lpad(to_hex((1000 + {n} - 6)), 8, '0'), 'hex')
update t set k = decode(lpad(to_hex((500000 + {n})), 8, '0'), 'hex') where k = decode(lpad(to_hex((1000 + {n} - 2)), 8, '0'), 'hex')
