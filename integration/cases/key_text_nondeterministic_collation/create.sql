-- The pip server is built without ICU.
create collation ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table t (k text collate ignoring_case primary key, v text, n integer default 0);
insert into t (k, v) select 'Key-' || (i), 'v' || i from generate_series(1, 300) i;
