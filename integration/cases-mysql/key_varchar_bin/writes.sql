update t set n = n + 1 where k = concat(case when ({n} % 200 + 1) % 2 = 0 then 'a' else 'A' end, ({n} % 200 + 1) div 2)
insert into t (k, v) values (concat(case when (1000 + {n}) % 2 = 0 then 'a' else 'A' end, (1000 + {n}) div 2), 'new {n}')
delete from t where k = concat(case when (1000 + {n} - 6) % 2 = 0 then 'a' else 'A' end, (1000 + {n} - 6) div 2)
update t set k = concat(case when (500000 + {n}) % 2 = 0 then 'a' else 'A' end, (500000 + {n}) div 2) where k = concat(case when (1000 + {n} - 2) % 2 = 0 then 'a' else 'A' end, (1000 + {n} - 2) div 2)
