update text set n = n + 1 where "int4" = {n} % 300 + 1
insert into text (v) values ('new{n}')
delete from text where v = 'new' || ({n} - 5)
