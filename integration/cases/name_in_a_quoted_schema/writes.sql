update "Sales Dept"."Orders.2026" set n = n + 1 where id = {n} % 300 + 1
insert into "Sales Dept"."Orders.2026" (v) values ('new{n}')
delete from "Sales Dept"."Orders.2026" where v = 'new' || ({n} - 5)
