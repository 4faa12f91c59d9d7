create table t (
    id bigint primary key,
    a date,
    b time,
    c time(2),
    d timetz,
    e timestamp,
    f timestamptz,
    g timestamptz(0),
    h interval,
    i interval day to second(3),
    j date[],
    k timestamptz[],
    l interval[],
    touched integer
);
insert into t values
    (1, 'infinity', '00:00', '00:00', '00:00+15:59', 'infinity', 'infinity', '2026-10-25 02:30:00+02', '0', '1 day 02:03:04.567', '{infinity,-infinity,NULL}', '{"2026-10-25 02:30+02",infinity}', '{"1 mon","30 days","720:00"}', 0),
    (2, '-infinity', '24:00', '12:34:56.78', '24:00-15:59', '-infinity', '-infinity', 'infinity', '1 year -2 mons 3 days -04:05:06.789', '0', '{}', '{}', '{}', 0),
    (3, '4713-01-01 BC', '23:59:59.999999', '24:00:00', '12:00:00.5+05:30', '4713-01-01 00:00:00 BC', '2026-10-25 02:30+02', '2026-10-25 02:30:00+02', '-178000000 years', '1 day 02:03:04.567', '{infinity,-infinity,NULL}', '{"2026-10-25 02:30+02",infinity}', '{"1 mon","30 days","720:00"}', 0),
    (4, '5874897-12-31', '00:00', '00:00', '00:00+15:59', '294276-12-31 23:59:59.999999', '2026-10-25 02:30+01', 'infinity', '178000000 years', '0', '{}', '{}', '{}', 0),
    (5, '2026-02-28', '24:00', '12:34:56.78', '24:00-15:59', '2026-10-25 02:30', '1883-11-18 12:03:57-04:56:02', '2026-10-25 02:30:00+02', '1 day', '1 day 02:03:04.567', '{infinity,-infinity,NULL}', '{"2026-10-25 02:30+02",infinity}', '{"1 mon","30 days","720:00"}', 0);
-- All NULL but the key.
insert into t (id) values (6);
-- Enough rows for several chunks to be on their way.
insert into t (id, a, b, c, d, e, f, g, h, i, j, k, l) select 100 + seq, a, b, c, d, e, f, g, h, i, j, k, l from generate_series(1, 60) seq join t on t.id = seq % 6 + 1;
