update t set n = n + 1 where k = 'a' and b = 2
update t set k = 'A   ' where b = 3
update t set k = 'a' where b = 3
update t set k = 'b' where b = 4
update t set k = 'A ' where b = 4
delete from t where k = '' and b = 2
insert into t values ('  ', 2, {n})
