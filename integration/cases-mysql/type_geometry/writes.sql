insert into t (id, a, b, c) values (100000 + {n}, st_geomfromtext('POINT(1 2)'), st_geomfromtext('POINT(-1.5 2.25)'), st_geomfromtext('LINESTRING(0 0, 1 1, 2 0)'))
insert into t (id, a, b, c) values (200000 + {n}, st_geomfromtext('POLYGON((0 0, 0 3, 3 3, 3 0, 0 0))', 4326), st_geomfromtext('POINT(10 20)', 4326), st_geomfromtext('LINESTRING(0 0, 1 1)', 4326))
insert into t (id, a, b, c) values (300000 + {n}, st_geomfromtext('MULTIPOINT((1 1), (2 2))'), null, null)
update t set a = st_geomfromtext('POLYGON((0 0, 0 3, 3 3, 3 0, 0 0))', 4326), b = st_geomfromtext('POINT(10 20)', 4326), c = st_geomfromtext('LINESTRING(0 0, 1 1)', 4326) where id = 1001 + (0 + {n}) % 3
update t set a = st_geomfromtext('MULTIPOINT((1 1), (2 2))'), b = null, c = null where id = 1001 + (1 + {n}) % 3
update t set a = st_geomfromtext('POINT(1 2)'), b = st_geomfromtext('POINT(-1.5 2.25)'), c = st_geomfromtext('LINESTRING(0 0, 1 1, 2 0)') where id = 1001 + (2 + {n}) % 3
update t set a = null, b = null, c = null where id = 100000 + {n} - 1
delete from t where id = 200000 + {n} - 1
update t set id = 900000 + {n} where id = 100000 + {n} - 2
