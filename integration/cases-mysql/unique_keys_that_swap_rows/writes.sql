begin; update t set a = null where id = {n} % 50 + 1; update t set a = {n} % 50 + 1 + 100000 * {n} where id = ({n} + 1) % 50 + 1; update t set a = -{n} where id = {n} % 50 + 1; commit
update t set b = b + 100 order by b desc
replace into t values ({n} % 50 + 1, 5000000 + {n}, 5000000 + {n})
update t set b = b - 100 order by b
