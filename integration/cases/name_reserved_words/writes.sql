update "table" set "user" = "user" + 1 where "select" = {n} % 300 + 1
insert into "table" ("order") values ('new{n}')
delete from "table" where "order" = 'new' || ({n} - 5)
