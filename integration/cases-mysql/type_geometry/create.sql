create table t (
    id int primary key,
    a geometry,
    b point,
    c linestring
);
insert into t values
    (1, st_geomfromtext('POINT(1 2)'), st_geomfromtext('POINT(-1.5 2.25)'), st_geomfromtext('LINESTRING(0 0, 1 1, 2 0)')),
    (2, st_geomfromtext('POLYGON((0 0, 0 3, 3 3, 3 0, 0 0))', 4326), st_geomfromtext('POINT(10 20)', 4326), st_geomfromtext('LINESTRING(0 0, 1 1)', 4326)),
    (3, st_geomfromtext('MULTIPOINT((1 1), (2 2))'), null, null);
insert into t select id + 1000, a, b, c from t;
