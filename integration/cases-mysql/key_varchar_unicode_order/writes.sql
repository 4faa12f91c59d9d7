update t set n = n + 1 where k = concat('Z', {n} % 150 + 1)
insert into t (k) values (concat('œ', {n}))
delete from t where k = concat('OE', {n} - 3)
