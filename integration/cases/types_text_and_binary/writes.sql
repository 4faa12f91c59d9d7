insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, touched) select 1000 + {n}, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, {n} from t where id = {n} % 6 + 1
update t set touched = {n} where id = {n} % 60 + 101
update t set (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r) = (select a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r from t o where o.id = ({n} + 3) % 6 + 1) where id = 1000 + {n} - 1
delete from t where id = 1000 + {n} - 7
