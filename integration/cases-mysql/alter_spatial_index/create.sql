-- MySQL builds one only where the column has an SRID.
create table orders (id int primary key, spot point not null, n int);
insert into orders values (1, st_geomfromtext('POINT(1 2)'), 1), (2, st_geomfromtext('POINT(3 4)'), 2);
