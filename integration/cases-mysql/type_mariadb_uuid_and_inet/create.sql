-- MariaDB's types.
create table t (
    id int primary key,
    a uuid,
    b inet6,
    c inet4
);
insert into t values
    (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '192.168.0.1'),
    (2, '00000000-0000-0000-0000-000000000000', '::', '0.0.0.0'),
    (3, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '::ffff:192.0.2.128', '255.255.255.255'),
    (4, null, null, null);
insert into t select id + 1000, a, b, c from t;
