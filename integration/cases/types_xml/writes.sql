update t set touched = {n} where id = {n} % 103 + 1
insert into t select 1000 + {n}, doc from t where id = {n} % 4 + 100
update t set doc = '<new n="{n}"/>' where id = {n} % 50 + 1
