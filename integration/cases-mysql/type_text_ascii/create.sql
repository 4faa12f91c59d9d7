create table t (
    id int primary key,
    a char(20) character set ascii collate ascii_general_ci,
    b varchar(200) character set ascii collate ascii_general_ci,
    c text character set ascii collate ascii_general_ci,
    d longtext character set ascii collate ascii_general_ci
);
insert into t values
    (1, left('plain', 20), 'plain', 'plain', repeat('plain', 300)),
    (2, left('', 20), '', '', repeat('', 300)),
    (3, left('\'\\', 20), '\'\\', '\'\\', repeat('\'\\', 300)),
    (4, null, null, null, null);
insert into t select id + 1000, a, b, c, d from t;
