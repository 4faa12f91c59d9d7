-- Everything that the catalog says about the table $1, one fact a line. Numbers that the server gives (oid, attnum) do not appear.
with t as (
    select c.*, n.nspname
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = $1::text::regclass
), facts (fact) as (
    select concat_ws(' ', 'table', relkind::text, 'persistence', relpersistence::text, 'owner', relowner::regrole,
        'options', array(select unnest(reloptions) order by 1),
        'toast', array(select unnest(o.reloptions) from pg_class o where o.oid = t.reltoastrelid order by 1),
        'identity', relreplident::text, 'security', relrowsecurity, relforcerowsecurity,
        'method', (select amname from pg_am where oid = relam),
        'tablespace', reltablespace,
        'comment', quote_nullable(obj_description(oid, 'pg_class')))
    from t
    union all
    select format('grant %s to %s by %s grantable %s', privilege_type, case grantee when 0 then 'public' else grantee::regrole::text end,
        grantor::regrole, is_grantable)
    from t, aclexplode(coalesce(relacl, acldefault('r', relowner)))
    union all
    select concat_ws(' ', 'column', row_number() over (order by attnum), quote_ident(attname), format_type(atttypid, atttypmod),
        case when attnotnull then 'not null' end,
        'default ' || pg_get_expr(d.adbin, d.adrelid),
        'generated ' || nullif(attgenerated::text, ''),
        'identity ' || nullif(attidentity::text, ''),
        'collation ' || (select collname from pg_collation c where c.oid = attcollation),
        'storage', attstorage::text,
        'compression ' || nullif(attcompression::text, ''),
        'target', greatest(attstattarget, -1),
        'options ' || attoptions::text,
        'comment ' || quote_literal(col_description(attrelid, attnum)))
    from t
    join pg_attribute a on attrelid = t.oid and attnum > 0 and not attisdropped
    left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
    union all
    select format('grant %s on column %I to %s grantable %s', privilege_type, attname,
        case grantee when 0 then 'public' else grantee::regrole::text end, is_grantable)
    from t
    join pg_attribute a on attrelid = t.oid and attnum > 0 and not attisdropped and attacl is not null, aclexplode(attacl)
    union all
    select concat_ws(' ', 'index', quote_ident(x.relname), pg_get_indexdef(x.oid),
        case when indisprimary then 'primary' end,
        case when indisunique then 'unique' end,
        case when not indimmediate then 'deferrable' end,
        case when indisclustered then 'clustered' end,
        case when indisreplident then 'identity' end,
        case when not (indisvalid and indisready and indislive) then 'broken' end,
        'owner', x.relowner::regrole,
        'comment ' || quote_literal(obj_description(x.oid, 'pg_class')),
        'targets ' || nullif(array(
            select attnum || ':' || attstattarget from pg_attribute where attrelid = x.oid and attstattarget >= 0 order by 1)::text, '{}'))
    from t
    join pg_index i on i.indrelid = t.oid
    join pg_class x on x.oid = i.indexrelid
    union all
    select concat_ws(' ', 'constraint', quote_ident(conname), contype::text, pg_get_constraintdef(c.oid),
        case when not convalidated then 'not valid' end,
        case when condeferrable then 'deferrable' end,
        case when condeferred then 'deferred' end,
        'comment ' || quote_literal(obj_description(c.oid, 'pg_constraint')))
    from t
    join pg_constraint c on c.conrelid = t.oid
    union all
    select concat_ws(' ', 'sequence', s.oid::regclass, 'of', quote_ident(attname), deptype::text, format_type(seqtypid, null), 'start', seqstart,
        'by', seqincrement, 'from', seqmin, 'to', seqmax, 'cache', seqcache, 'cycle', seqcycle, 'owner', s.relowner::regrole,
        'comment ' || quote_literal(obj_description(s.oid, 'pg_class')),
        'grants ' || array(select a::text from unnest(s.relacl) a order by 1)::text)
    from t
    join pg_depend d on d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
        and d.deptype in ('a', 'i') and d.refobjsubid > 0
    join pg_class s on s.oid = d.objid and s.relkind = 'S'
    join pg_sequence q on q.seqrelid = s.oid
    join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
    union all
    select concat_ws(' ', 'statistics', pg_get_statisticsobjdef(oid), 'target ' || nullif(stxstattarget, -1),
        'comment ' || quote_literal(obj_description(oid, 'pg_statistic_ext')))
    from pg_statistic_ext
    where stxrelid = (select oid from t)
    union all
    select 'trigger ' || pg_get_triggerdef(g.oid) || ' ' || tgenabled::text
    from t
    join pg_trigger g on g.tgrelid = t.oid and not tgisinternal
    union all
    select 'policy ' || polname || ' ' || coalesce(pg_get_expr(polqual, polrelid), '')
    from t
    join pg_policy p on p.polrelid = t.oid
    union all
    select 'published by ' || pubname
    from t
    join pg_publication_rel r on r.prrelid = t.oid
    join pg_publication p on p.oid = r.prpubid
)
select fact from facts order by fact collate "C"
