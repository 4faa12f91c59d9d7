create table t (
    id int primary key,
    a enum('one','two')
);
insert into t values
    (1, 'one'),
    (2, 'two');
insert into t select id + 1000, a from t;
set @mode = @@sql_mode, sql_mode = '';
insert into t values (50, 'none of them'), (51, 0);
set sql_mode = @mode;
