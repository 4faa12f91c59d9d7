-- Everything that hangs on the table $1, as one JSON document. $2 and $3: the names of the shadow and of the old table.
with t as (
    select c.*, n.nspname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = $1
),
sequences as (
    select s.oid, s.reltype, d.deptype
    from pg_depend d
    join pg_class s on s.oid = d.objid and s.relkind = 'S'
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.deptype in ('a', 'i')
),
-- The table's own parts go with it or are made anew; what depends on them or on it from outside is somebody else's.
own as (
    select 'pg_class'::regclass::oid as classid, oid as objid from t
    union all select 'pg_class'::regclass, indexrelid from pg_index where indrelid = $1
    union all select 'pg_class'::regclass, reltoastrelid from t
    union all select 'pg_class'::regclass, i.indexrelid from t join pg_index i on i.indrelid = t.reltoastrelid
    -- Before 14 a TOAST table has a row type.
    union all select 'pg_type'::regclass, y.oid from t join pg_type y on y.typrelid = t.reltoastrelid and t.reltoastrelid <> 0
    union all select 'pg_constraint'::regclass, oid from pg_constraint where conrelid = $1
    union all select 'pg_attrdef'::regclass, oid from pg_attrdef where adrelid = $1
    union all select 'pg_type'::regclass, reltype from t
    union all select 'pg_type'::regclass, y.typarray from t join pg_type y on y.oid = t.reltype
    union all select 'pg_trigger'::regclass, oid from pg_trigger where tgrelid = $1
    union all select 'pg_policy'::regclass, oid from pg_policy where polrelid = $1
    union all select 'pg_rewrite'::regclass, oid from pg_rewrite where ev_class = $1
    union all select 'pg_statistic_ext'::regclass, oid from pg_statistic_ext where stxrelid = $1
    union all select 'pg_publication_rel'::regclass, oid from pg_publication_rel where prrelid = $1
    union all select 'pg_class'::regclass, oid from sequences where deptype = 'i'
),
-- The sequence of a serial column stays what it is, whoever uses it.
kept as (
    select classid, objid from own
    union all select 'pg_class'::regclass, oid from sequences
    union all select 'pg_type'::regclass, reltype from sequences
),
users as (
    select distinct d.classid, d.objid
    from own o
    join pg_depend d on d.refclassid = o.classid and d.refobjid = o.objid
    where (d.classid, d.objid) not in (select classid, objid from kept)
)
select json_build_object(
    'rows', greatest(t.reltuples, 0)::int8,
    'table_bytes', case when t.relkind in ('r', 'm', 't') then pg_table_size(t.oid) else 0 end,
    'index_bytes', case when t.relkind in ('r', 'm', 't') then pg_indexes_size(t.oid) else 0 end,
    'heap_bytes', case when t.relkind in ('r', 'm', 't') then pg_relation_size(t.oid) else 0 end,
    'frozen_age', case when t.relfrozenxid::text <> '0' then age(t.relfrozenxid) else 0 end,
    'freeze_age_max', current_setting('autovacuum_freeze_max_age')::int8,
    'owns', pg_has_role(t.relowner, 'usage'),
    'may_create', has_schema_privilege(t.relnamespace, 'CREATE'),
    'owner_may_create', has_schema_privilege(t.relowner, t.relnamespace, 'CREATE'),
    'may_read', has_table_privilege(t.oid, 'SELECT'),
    'views', coalesce((
        select json_agg(distinct pg_describe_object('pg_class'::regclass, r.ev_class, 0))
        from users u join pg_rewrite r on u.classid = 'pg_rewrite'::regclass and r.oid = u.objid), '[]'),
    'functions', coalesce((
        select json_agg(distinct pg_describe_object(classid, objid, 0)) from users where classid = 'pg_proc'::regclass), '[]'),
    'others', coalesce((
        select json_agg(distinct pg_describe_object(classid, objid, 0))
        from users
        where classid not in ('pg_rewrite'::regclass, 'pg_proc'::regclass)
            and not (classid = 'pg_constraint'::regclass and exists (select from pg_constraint where oid = objid and contype = 'f'))
            and not (classid = 'pg_trigger'::regclass and exists (select from pg_trigger where oid = objid and tgisinternal))), '[]'),
    'keys_out', coalesce((
        select json_agg(format('%s to %s', conname, confrelid::regclass) order by conname)
        from pg_constraint where conrelid = t.oid and contype = 'f'), '[]'),
    'keys_in', coalesce((
        select json_agg(format('%s of %s', conname, conrelid::regclass) order by conname)
        from pg_constraint where confrelid = t.oid and contype = 'f' and conrelid <> t.oid), '[]'),
    'publications', coalesce((
        select json_agg(pubname order by pubname)
        from pg_publication_tables where schemaname = t.nspname and tablename = t.relname
        -- A migration's own goes with it.
        and pubname !~ '^shadowswap_(c[0-9a-f]{7}_)?[0-9]+(_back)?$'), '[]'),
    'publications_all', coalesce((select json_agg(pubname order by pubname) from pg_publication where puballtables), '[]'),
    'statistics_of_others', coalesce((
        select json_agg(format('%I.%I', n.nspname, s.stxname) order by s.stxname)
        from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
        where s.stxrelid = t.oid and not pg_has_role(s.stxowner, 'usage')), '[]'),
    'extension', (
        select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_class'::regclass and d.objid = t.oid and d.deptype = 'e' limit 1),
    'labels', coalesce((select json_agg(provider || ': ' || label) from pg_seclabels where objoid = t.oid and classoid = 'pg_class'::regclass), '[]'),
    'shadow_comment', (
        select coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class c where c.relnamespace = t.relnamespace and c.relname = $2),
    'old_comment', (
        select coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class c where c.relnamespace = t.relnamespace and c.relname = $3))
from t
