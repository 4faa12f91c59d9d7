update t set n = n + 1 where id % 97 = {n} % 97
delete from t where id = {n} * 13 % 16000
insert into t values ({n} * 13 % 16000, {n}, 'again') on duplicate key update n = {n}
update t set id = 20000 + {n} where id = {n} * 7 % 16000
