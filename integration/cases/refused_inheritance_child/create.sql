create table parent (id bigint, v text);
create table t (primary key (id)) inherits (parent);
