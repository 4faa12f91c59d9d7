update t set n = n + 1 where k = concat(x'275c', unhex(lpad(hex(({n} % 200 + 1)), 6, '0')))
insert into t (k, v) values (concat(x'275c', unhex(lpad(hex((1000 + {n})), 6, '0'))), 'new {n}')
delete from t where k = concat(x'275c', unhex(lpad(hex((1000 + {n} - 6)), 6, '0')))
update t set k = concat(x'275c', unhex(lpad(hex((500000 + {n})), 6, '0'))) where k = concat(x'275c', unhex(lpad(hex((1000 + {n} - 2)), 6, '0')))
