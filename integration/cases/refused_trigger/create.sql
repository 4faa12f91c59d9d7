create table t (id bigint primary key, v text, n integer);
insert into t select i, 'v' || i, i from generate_series(1, 300) i;
create function noop() returns trigger language plpgsql as 'begin return new; end';
create trigger on_change before update on t for each row execute function noop();
