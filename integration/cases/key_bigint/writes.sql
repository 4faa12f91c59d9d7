update t set n = n + 1 where k = ({n} % 300 + 1)::bigint * 1000000007
insert into t (k, v) values ((1000 + {n})::bigint * 1000000007, 'new {n}')
delete from t where k = (1000 + {n} - 6)::bigint * 1000000007
update t set k = (500000 + {n})::bigint * 1000000007 where k = (1000 + {n} - 2)::bigint * 1000000007
