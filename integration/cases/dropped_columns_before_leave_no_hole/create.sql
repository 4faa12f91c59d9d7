create table t (gone1 text, id bigint primary key, gone2 int, v text, n int);
alter table t drop column gone1;
insert into t (id, v, n) select i, 'v' || i, i from generate_series(1, 300) i;
alter table t drop column gone2;
alter table t add column late int not null default 5;
