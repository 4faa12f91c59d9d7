create table t (id bigint primary key, a text, b bytea, c text[], d jsonb, e numeric, f timestamptz, g varchar(3) not null default '');
insert into t (id) select i from generate_series(1, 500) i;
update t set a = '', b = '', c = '{}', d = '{}' where id % 2 = 0;
