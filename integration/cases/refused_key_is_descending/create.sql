create table t (k bigint not null, v text, n integer default 0);
create unique index t_k on t (k desc);
