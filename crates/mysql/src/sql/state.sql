create or replace sql security definer view {control}.state as
select m.id as migration,
    m.table_schema,
    m.table_name,
    m.phase,
    (m.turn % 2 = 1 or (m.turn = 0 and m.phase in ('guard', 'done'))) as is_swapped,
    (m.phase in ('done', 'aborted', 'rolledback')) as is_over,
    m.paused as is_paused,
    nullif(json_unquote(json_extract(m.progress, '$.throttled')), 'null') as held_by,
    cast(json_extract(m.progress, '$.lag_ms') as decimal(20, 3)) as lag_ms,
    cast(json_extract(m.progress, '$.rows_copied') as unsigned) as rows_copied,
    cast(json_extract(m.progress, '$.rows_total') as unsigned) as rows_total,
    m.runner,
    m.error,
    m.started_at,
    m.updated_at,
    m.ended_at,
    m.guard_until
from {control}.migration m
