create table t (k bytea primary key, v text, n integer default 0);
insert into t (k, v) select decode(lpad(to_hex((i)), 8, '0'), 'hex'), 'v' || i from generate_series(1, 300) i;
insert into t (k, v) values ('', 'empty'), ('\x00', 'zero'), ('\xff', 'most');
