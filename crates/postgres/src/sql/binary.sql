-- Whether every type below the columns of the table $1 comes back from its binary form as it was, bit for bit. That a type has a binary
-- form is not enough: xml loses its declaration on the way, and an empty tsquery is refused. So these are the types that were tried.
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
select coalesce(bool_and(
    p.typsend::pg_catalog.oid <> 0 and p.typreceive::pg_catalog.oid <> 0
    and (
        p.typtype in ('d', 'e', 'c', 'r', 'm')
        or p.typcategory = 'A'
        or (p.typnamespace = 'pg_catalog'::regnamespace and p.typname = any (array[
            'bool', 'bytea', 'char', 'name', 'int2', 'int4', 'int8', 'text', 'oid', 'float4', 'float8', 'money', 'bpchar', 'varchar',
            'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'bit', 'varbit', 'numeric', 'uuid', 'json', 'jsonb',
            'inet', 'cidr', 'macaddr', 'macaddr8', 'pg_lsn', 'point', 'lseg', 'path', 'box', 'polygon', 'line', 'circle'
        ]))
    )
), true)
from y
join pg_type p on p.oid = y.oid
