update t set small = {n} where id = {n} % 300 + 1
update t set big = big || '{n}' where id = ({n} + 100) % 300 + 1
begin; update t set small = small + 1 where id = {n} % 300 + 1; update t set bytes = bytes || '\x00' where id = {n} % 300 + 1; update t set small = small + 1 where id = {n} % 300 + 1; commit
update t set id = 10000 + {n} where id = 300 - {n} % 100
update t set small = -{n} where id = 10000 + {n}
delete from t where id = 10000 + {n} - 3
