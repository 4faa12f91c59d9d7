create table t (
    id int primary key,
    a json
);
insert into t values
    (1, '{"a": [1, 2.50, "ü\\\\"], "b": null}'),
    (2, '[]'),
    (3, '"text"'),
    (4, '1'),
    (5, '{"k": {"n": 12345678901234567890, "d": 1e10}}'),
    (6, null);
insert into t select id + 1000, a from t;
