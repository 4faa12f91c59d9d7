create type kind as (id bigint, v text);
create table t of kind (primary key (id));
