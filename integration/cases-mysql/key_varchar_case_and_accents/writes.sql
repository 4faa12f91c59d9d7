update t set n = n + 1 where k = concat('ea', {n} % 150 + 1)
update t set k = 'ZOE' where k = 'zoë'
update t set k = 'Zoë', n = n + 1 where k = 'zoe'
insert into t (k) values (concat('NEU', {n}))
delete from t where k = concat('neü', {n} - 3)
update t set k = 'A' where k = 'á'
update t set k = 'ä' where k = 'a'
begin; delete from t where k = 'B'; insert into t (k, n) values ('b́', {n}) on duplicate key update n = {n}; delete from t where k = 'b́'; insert into t (k, n) values ('B', {n}); commit
