create table t (id bigint primary key, v text);
create table other_t (id bigint);
