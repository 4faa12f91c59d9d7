update staging set position = position + 1 where op = {n} % 300 + 1
insert into staging (seq) values ('new{n}')
delete from staging where seq = 'new' || ({n} - 5)
