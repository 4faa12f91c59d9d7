update t set n = n + 1 where k = 'a'
insert into t values ('c', {n})
delete from t where k = 'c'
update t set k = 'c' where k = 'b'
update t set k = 'b' where k = 'c'
