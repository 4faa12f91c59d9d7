update `or'd"ers` set `am'ou"nt` = concat('it''s ', {n}), n = n + 1 where `i'"d` = {n} % 100 + 1
insert into `or'd"ers` (`i'"d`) values (1000 + {n})
delete from `or'd"ers` where `i'"d` = 1000 + {n} - 3
update `or'd"ers` set `i'"d` = 500000 + {n} where `i'"d` = 1000 + {n}-1
