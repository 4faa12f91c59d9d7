update "Orders" set "N" = "N" + 1 where "Id" = {n} % 300 + 1
insert into "Orders" ("Value") values ('new{n}')
delete from "Orders" where "Value" = 'new' || ({n} - 5)
