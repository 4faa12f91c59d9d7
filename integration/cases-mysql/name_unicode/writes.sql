update `注文ü` set `größe` = concat('it''s ', {n}), n = n + 1 where `キー` = {n} % 100 + 1
insert into `注文ü` (`キー`) values (1000 + {n})
delete from `注文ü` where `キー` = 1000 + {n} - 3
update `注文ü` set `キー` = 500000 + {n} where `キー` = 1000 + {n}-1
