create table t (id bigint primary key, n integer, a text, b bytea);
insert into t select i, 0, (select string_agg(md5(i || '-' || j), '') from generate_series(1, 40000) j),
    decode((select string_agg(md5(i || '+' || j), '') from generate_series(1, 30000) j), 'hex') from generate_series(1, 4) i;
insert into t select i, 0, 'small', null from generate_series(5, 200) i;
