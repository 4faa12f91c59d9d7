-- MySQL's type.
create table t (
    id int primary key,
    a vector(4),
    b vector
);
insert into t values
    (1, to_vector('[1, 2.5, -3e10, 0]'), to_vector('[1]')),
    (2, to_vector('[0, 0, 0, 0]'), to_vector('[1, 2, 3]')),
    (3, null, null);
insert into t select id + 1000, a, b from t;
