-- Not every build has XML: the pip server's has not.
create table t (id bigint primary key, doc xml, touched integer);
insert into t select i, xmlelement(name a, xmlattributes(i as n), repeat('<&>', i % 50)), 0 from generate_series(1, 100) i;
insert into t values (101, null, 0), (102, '<?xml version="1.0"?><r> <x/>é</r>', 0), (103, 'just text', 0);
