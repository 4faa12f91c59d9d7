update t set n = n + 1 where a = {n} % 3
insert into t values (200, x'00', {n}, 'y', 1)
update t set d = 'x' where a = 200 and c = {n} - 1
delete from t where a = 200 and c = {n} - 4
