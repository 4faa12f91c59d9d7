update `my orders` set `the amount` = concat('it''s ', {n}), n = n + 1 where `the id` = {n} % 100 + 1
insert into `my orders` (`the id`) values (1000 + {n})
delete from `my orders` where `the id` = 1000 + {n} - 3
update `my orders` set `the id` = 500000 + {n} where `the id` = 1000 + {n}-1
