update `or``de``rs` set `am``ount` = concat('it''s ', {n}), n = n + 1 where `i``d` = {n} % 100 + 1
insert into `or``de``rs` (`i``d`) values (1000 + {n})
delete from `or``de``rs` where `i``d` = 1000 + {n} - 3
update `or``de``rs` set `i``d` = 500000 + {n} where `i``d` = 1000 + {n}-1
