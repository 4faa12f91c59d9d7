-- SRID as a column attribute is MySQL's.
create table orders (id int primary key, spot point not null srid 4326, n int);
insert into orders values (1, st_geomfromtext('POINT(1 2)', 4326), 1), (2, st_geomfromtext('POINT(3 4)', 4326), 2);
