update t set v = 'w{n}' where id = {n} * 37 % 20000 + 1
delete from t where id = {n} * 41 % 20000 + 1
update t set id = -id where id = {n} * 43 % 20000 + 1
