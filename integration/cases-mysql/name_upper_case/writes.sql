update `Orders` set `Amount` = concat('it''s ', {n}), n = n + 1 where `ID` = {n} % 100 + 1
insert into `Orders` (`ID`) values (1000 + {n})
delete from `Orders` where `ID` = 1000 + {n} - 3
update `Orders` set `ID` = 500000 + {n} where `ID` = 1000 + {n}-1
