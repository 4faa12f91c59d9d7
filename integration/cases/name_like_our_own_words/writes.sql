update shadow set marker = marker + 1 where key = {n} % 300 + 1
insert into shadow (source) values ('new{n}')
delete from shadow where source = 'new' || ({n} - 5)
