create table t (id bigint primary key, small integer not null default 0, big text, bytes bytea, doc jsonb, outside text);
alter table t alter column outside set storage external;
-- Too random to be compressed below the limit: each of these lies out of line.
insert into t (id, big, bytes, doc, outside)
select i, (select string_agg(md5(i || '-' || j), '') from generate_series(1, 150) j),
    decode((select string_agg(md5(i || '+' || j), '') from generate_series(1, 150) j), 'hex'),
    jsonb_build_object('a', (select string_agg(md5(i || '*' || j), '') from generate_series(1, 150) j)),
    repeat('x', 5000)
from generate_series(1, 300) i;
