create table t (id bigint not null, v text);
create unique index t_id on t ((id + 1));
