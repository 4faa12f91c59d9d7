update `a-b$c` set `d-e` = concat('it''s ', {n}), n = n + 1 where `f.g` = {n} % 100 + 1
insert into `a-b$c` (`f.g`) values (1000 + {n})
delete from `a-b$c` where `f.g` = 1000 + {n} - 3
update `a-b$c` set `f.g` = 500000 + {n} where `f.g` = 1000 + {n}-1
