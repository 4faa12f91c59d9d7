create table t (k text collate "C" primary key, v text, n integer default 0);
insert into t (k, v) select chr(33 + (i) % 90) || '/' || (i), 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values ('', 'empty'), ('Z', 'big'), ('a', 'small'), ('é', 'accent');
