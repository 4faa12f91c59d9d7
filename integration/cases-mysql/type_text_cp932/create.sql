create table t (
    id int primary key,
    a char(20) character set cp932 collate cp932_japanese_ci,
    b varchar(200) character set cp932 collate cp932_japanese_ci,
    c text character set cp932 collate cp932_japanese_ci,
    d longtext character set cp932 collate cp932_japanese_ci
);
insert into t values
    (1, left('日本語', 20), '日本語', '日本語', repeat('日本語', 300)),
    (2, left(_cp932 x'835c', 20), _cp932 x'835c', _cp932 x'835c', repeat(_cp932 x'835c', 300)),
    (3, left(_cp932 x'955c27', 20), _cp932 x'955c27', _cp932 x'955c27', repeat(_cp932 x'955c27', 300)),
    (4, left('', 20), '', '', repeat('', 300)),
    (5, null, null, null, null);
insert into t select id + 1000, a, b, c, d from t;
