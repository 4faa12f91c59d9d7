create table t (id numeric primary key, v text);
insert into t select i, 'v' from generate_series(1, 50) i;
insert into t values (7.2, 'same as 7');
