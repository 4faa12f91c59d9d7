update `or\ders%s` set `a\n%d` = concat('it''s ', {n}), n = n + 1 where `i\d_` = {n} % 100 + 1
insert into `or\ders%s` (`i\d_`) values (1000 + {n})
delete from `or\ders%s` where `i\d_` = 1000 + {n} - 3
update `or\ders%s` set `i\d_` = 500000 + {n} where `i\d_` = 1000 + {n}-1
