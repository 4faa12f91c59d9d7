insert into orders values (10 + {n}, st_geomfromtext('POINT(5 1)', 4326), {n})
update orders set spot = st_geomfromtext('POINT(7 1)', 4326) where id = {n} % 2 + 1
delete from orders where id = 8 + {n}
