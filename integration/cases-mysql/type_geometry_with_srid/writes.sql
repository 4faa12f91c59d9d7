insert into t (id, b) values (100000 + {n}, st_geomfromtext('POINT(1 2)', 4326))
insert into t (id, b) values (200000 + {n}, st_geomfromtext('POINT(-45 170)', 4326))
update t set b = st_geomfromtext('POINT(-45 170)', 4326) where id = 1001 + (0 + {n}) % 2
update t set b = st_geomfromtext('POINT(1 2)', 4326) where id = 1001 + (1 + {n}) % 2
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
