update `2026` set `1` = concat('it''s ', {n}), n = n + 1 where `2` = {n} % 100 + 1
insert into `2026` (`2`) values (1000 + {n})
delete from `2026` where `2` = 1000 + {n} - 3
update `2026` set `2` = 500000 + {n} where `2` = 1000 + {n}-1
