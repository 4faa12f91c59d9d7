-- Whether every type below the columns of the table $1 can be sent and received in binary.
with recursive y (oid) as (
    select a.atttypid from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
    union
    select v.oid
    from y
    join pg_type p on p.oid = y.oid
    cross join lateral (
        select p.typbasetype as oid where p.typtype = 'd'
        union all select p.typelem where p.typelem <> 0
        union all select r.rngsubtype from pg_range r where p.oid::text in (r.rngtypid::text, to_jsonb(r) ->> 'rngmultitypid')
        union all select a.atttypid from pg_attribute a where a.attrelid = p.typrelid and p.typtype = 'c' and a.attnum > 0 and not a.attisdropped
    ) v
)
select coalesce(bool_and(p.typsend::oid <> 0 and p.typreceive::oid <> 0), true)
from y
join pg_type p on p.oid = y.oid
