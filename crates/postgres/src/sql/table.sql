-- The definition of the table $1 as one JSON document. Run it with an empty search_path: then every name in a definition is qualified,
-- and the part of a definition after the table's name can be cut off exactly. A table of pg_temp is shown under that name, before 14
-- under its own.
with t as (
    select c.*, n.nspname,
        case when c.relnamespace = pg_my_temp_schema() then array['pg_temp', n.nspname] else array[n.nspname] end as shown
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.oid = $1
)
select json_build_object(
    'oid', t.oid::int8,
    'schema', t.nspname,
    'name', t.relname,
    'kind', t.relkind::text,
    'persistence', t.relpersistence::text,
    'owner', pg_get_userbyid(t.relowner),
    'access_method', (select amname from pg_am where oid = t.relam),
    'tablespace', (select spcname from pg_tablespace where oid = t.reltablespace),
    'filenode', pg_relation_filenode(t.oid)::int8,
    'options', coalesce(to_json(t.reloptions), '[]'),
    'toast_options', coalesce((select to_json(reloptions) from pg_class where oid = t.reltoastrelid), '[]'),
    'identity', t.relreplident::text,
    'row_security', t.relrowsecurity or t.relforcerowsecurity,
    'of_type', t.reloftype <> 0,
    'is_partition', t.relispartition,
    'inherits', exists (select from pg_inherits where t.oid in (inhrelid, inhparent)),
    'comment', obj_description(t.oid, 'pg_class'),
    'triggers', coalesce((
        select json_agg(pg_get_triggerdef(oid) || ' ' || tgenabled::text order by tgname)
        from pg_trigger where tgrelid = t.oid and not tgisinternal), '[]'),
    'rules', coalesce((select json_agg(pg_get_ruledef(oid) order by rulename) from pg_rewrite where ev_class = t.oid), '[]'),
    'policies', coalesce((
        select json_agg(concat_ws(' ', p.polname, p.polcmd, p.polpermissive, p.polroles::text) || ' '
            || coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
            order by p.polname)
        from pg_policy p where p.polrelid = t.oid), '[]'),
    'columns', coalesce((
        select json_agg(json_build_object(
            'number', a.attnum,
            'name', a.attname,
            'type_name', format_type(a.atttypid, a.atttypmod),
            'type_oid', a.atttypid::int8,
            'typmod', a.atttypmod,
            'base', (
                with recursive d as (
                    select y.oid, y.typbasetype, y.typtypmod, y.typtype, a.atttypmod as typmod
                    from pg_type y where y.oid = a.atttypid
                    union all
                    select y.oid, y.typbasetype, y.typtypmod, y.typtype, d.typtypmod
                    from d join pg_type y on y.oid = d.typbasetype where d.typtype = 'd'
                )
                select format_type(oid, typmod) from d where typtype <> 'd'),
            'not_null', a.attnotnull,
            'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end,
            'generation', case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end,
            'generated', a.attgenerated::text,
            'identity', a.attidentity::text,
            'missing', case when a.atthasmissing then (a.attmissingval::text::text[])[1] end,
            'collation', (
                select format('%I.%I', n.nspname, l.collname)
                from pg_collation l join pg_namespace n on n.oid = l.collnamespace
                where l.oid = a.attcollation),
            'deterministic', coalesce((select l.collisdeterministic from pg_collation l where l.oid = a.attcollation), true),
            'target', case when a.attstattarget >= 0 then a.attstattarget end,
            'options', coalesce(to_json(a.attoptions), '[]'),
            'comment', col_description(a.attrelid, a.attnum)) order by a.attnum)
        from pg_attribute a
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped), '[]'),
    'indexes', coalesce((
        select json_agg(json_build_object(
            'name', x.relname,
            'filenode', pg_relation_filenode(x.oid)::int8,
            'tail', (
                select substr(d.def, length(h.head) + 1)
                from pg_get_indexdef(x.oid) d (def)
                cross join unnest(t.shown) s (schema)
                cross join lateral format('CREATE %sINDEX %I ON %I.%I ',
                    case when i.indisunique then 'UNIQUE ' else '' end, x.relname, s.schema, t.relname) h (head)
                where starts_with(d.def, h.head)
                limit 1),
            'method', m.amname,
            'unique', i.indisunique,
            'immediate', i.indimmediate,
            'valid', i.indisvalid and i.indisready and i.indislive,
            'predicate', pg_get_expr(i.indpred, i.indrelid),
            'clustered', i.indisclustered,
            'replica_identity', i.indisreplident,
            'tablespace', (select spcname from pg_tablespace where oid = x.reltablespace),
            'options', coalesce(to_json(x.reloptions), '[]'),
            'comment', obj_description(x.oid, 'pg_class'),
            'targets', coalesce((
                select json_agg(json_build_array(a.attnum, a.attstattarget) order by a.attnum)
                from pg_attribute a where a.attrelid = x.oid and a.attstattarget >= 0), '[]'),
            'constraint', (
                select json_build_object('kind', c.contype::text, 'def', pg_get_constraintdef(c.oid), 'deferrable', c.condeferrable,
                    'deferred', c.condeferred, 'comment', obj_description(c.oid, 'pg_constraint'))
                from pg_constraint c where c.conindid = x.oid and c.conrelid = t.oid and c.contype in ('p', 'u', 'x')),
            'keys', (
                select json_agg(json_build_object(
                    'number', i.indkey[g],
                    'text', pg_get_indexdef(x.oid, g + 1, false),
                    'plain', i.indkey[g] <> 0 and i.indoption[g] = 0 and i.indcollation[g] = a.attcollation and o.opcdefault
                        and not exists (
                            select from pg_opclass p
                            where p.opcmethod = o.opcmethod and p.opcdefault and p.oid <> o.oid and p.opcintype = a.atttypid)) order by g)
                from generate_series(0, i.indnkeyatts - 1) g
                join pg_opclass o on o.oid = i.indclass[g]
                left join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[g] and i.indkey[g] <> 0)) order by x.relname)
        from pg_index i
        join pg_class x on x.oid = i.indexrelid
        join pg_am m on m.oid = x.relam
        where i.indrelid = t.oid), '[]'),
    'constraints', coalesce((
        select json_agg(json_build_object(
            'name', c.conname,
            'kind', c.contype::text,
            'def', pg_get_constraintdef(c.oid),
            'expression', pg_get_expr(c.conbin, c.conrelid),
            'validated', c.convalidated,
            'columns', coalesce(to_json(c.conkey), '[]'),
            'comment', obj_description(c.oid, 'pg_constraint')) order by c.conname)
        from pg_constraint c
        where c.conrelid = t.oid and c.contype in ('c', 'n', 'f')), '[]'),
    'statistics', coalesce((
        select json_agg(json_build_object(
            'schema', n.nspname,
            'name', s.stxname,
            'tail', (
                select substr(d.def, length(h.head) + 1, length(d.def) - length(h.head) - length(f.foot))
                from pg_get_statisticsobjdef(s.oid) d (def)
                cross join unnest(array[n.nspname, 'pg_temp']) hs (schema)
                cross join lateral format('CREATE STATISTICS %I.%I ', hs.schema, s.stxname) h (head)
                cross join unnest(t.shown) fs (schema)
                cross join lateral unnest(array[format(' FROM %I.%I', fs.schema, t.relname), format(' FROM %I', t.relname)]) f (foot)
                where starts_with(d.def, h.head) and right(d.def, length(f.foot)) = f.foot
                order by length(f.foot) desc
                limit 1),
            'owner', pg_get_userbyid(s.stxowner),
            'target', case when s.stxstattarget >= 0 then s.stxstattarget end,
            'comment', obj_description(s.oid, 'pg_statistic_ext')) order by s.stxname)
        from pg_statistic_ext s
        join pg_namespace n on n.oid = s.stxnamespace
        where s.stxrelid = t.oid), '[]'),
    'sequences', coalesce((
        select json_agg(json_build_object(
            'oid', s.oid::int8,
            'schema', n.nspname,
            'name', s.relname,
            'type_name', (select format_type(seqtypid, null) from pg_sequence where seqrelid = s.oid),
            'column', d.refobjsubid,
            'is_identity', d.deptype = 'i') order by d.refobjsubid)
        from pg_depend d
        join pg_class s on s.oid = d.objid and s.relkind = 'S'
        join pg_namespace n on n.oid = s.relnamespace
        where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
            and d.deptype in ('a', 'i') and d.refobjsubid > 0), '[]'))
from t
