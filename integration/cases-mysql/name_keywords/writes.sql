update `select` set `order` = concat('it''s ', {n}), n = n + 1 where `key` = {n} % 100 + 1
insert into `select` (`key`) values (1000 + {n})
delete from `select` where `key` = 1000 + {n} - 3
update `select` set `key` = 500000 + {n} where `key` = 1000 + {n}-1
