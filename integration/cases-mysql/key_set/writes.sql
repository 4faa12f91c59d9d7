update t set n = n + 1 where k = ''
insert into t values ('x,y,z', {n})
delete from t where k = 'x,y,z'
update t set k = 'x' where k = 'y'
update t set k = 'y' where k = 'x'
