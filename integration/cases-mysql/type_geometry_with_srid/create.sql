-- SRID as a column attribute is MySQL's.
create table t (
    id int primary key,
    b point not null srid 4326,
    spatial index (b)
);
insert into t values
    (1, st_geomfromtext('POINT(1 2)', 4326)),
    (2, st_geomfromtext('POINT(-45 170)', 4326));
insert into t select id + 1000, b from t;
