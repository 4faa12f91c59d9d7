update t set n = n + 1 where k = concat(x'00', unhex(lpad(hex(({n} % 200 + 1)), 6, '0')), x'00')
insert into t (k, v) values (concat(x'00', unhex(lpad(hex((1000 + {n})), 6, '0')), x'00'), 'new {n}')
delete from t where k = concat(x'00', unhex(lpad(hex((1000 + {n} - 6)), 6, '0')), x'00')
update t set k = concat(x'00', unhex(lpad(hex((500000 + {n})), 6, '0')), x'00') where k = concat(x'00', unhex(lpad(hex((1000 + {n} - 2)), 6, '0')), x'00')
