create table orders (id int primary key, spot point not null, n int, spatial key by_spot (spot));
insert into orders values (1, st_geomfromtext('POINT(1 2)'), 1), (2, st_geomfromtext('POINT(3 4)'), 2);
