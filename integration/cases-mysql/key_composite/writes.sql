update t set n = n + 1 where a = {n} % 7 - 3 and b = 'b1'
insert into t (a, b, c, v) values ({n}, 'B9', '2026-02-01 00:00:00.123', 'new')
delete from t where b = 'B9' and a = {n} - 4
update t set b = 'b8' where b = 'b9' and a = {n} - 2
update t set c = date_add(c, interval 1 year), a = -a where b = 'B8' and a = {n} - 3
