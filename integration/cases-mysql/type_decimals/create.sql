create table t (
    id int primary key,
    a decimal(65,30),
    b decimal(10,0),
    c decimal(5,2) unsigned,
    d decimal(30,30),
    e decimal(1,0),
    f decimal(9,9)
);
insert into t values
    (1, 99999999999999999999999999999999999.999999999999999999999999999999, -9999999999, 999.99, 0.999999999999999999999999999999, 9, -0.999999999),
    (2, -99999999999999999999999999999999999.000000000000000000000000000001, 0, 0, -0.000000000000000000000000000001, -9, 0.000000001),
    (3, 0, 5, 0.01, 0, 0, 0),
    (4, null, null, null, null, null, null);
insert into t select id + 1000, a, b, c, d, e, f from t;
