-- The pip server is built without ICU.

create table t (k text collate "de-x-icu" primary key, v text, n integer default 0);
insert into t (k, v) select chr(33 + (i) % 90) || '/' || (i), 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values ('', 'empty'), ('A', 'big'), ('a', 'small'), ('ä', 'umlaut'), ('Ä', 'big umlaut'), ('z', 'last');
