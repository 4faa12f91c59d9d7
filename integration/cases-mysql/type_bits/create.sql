create table t (
    id int primary key,
    a bit(1),
    b bit(64),
    c bit(13)
);
insert into t values
    (1, b'1', 0xffffffffffffffff, b'1111111111111'),
    (2, b'0', b'0', b'0'),
    (3, b'1', 0x8000000000000001, b'1000000000001'),
    (4, null, null, null);
insert into t select id + 1000, a, b, c from t;
