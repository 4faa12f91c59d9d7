update "oid" set "excluded" = "excluded" + 1 where "ctid2" = {n} % 300 + 1
insert into "oid" ("new") values ('new{n}')
delete from "oid" where "new" = 'new' || ({n} - 5)
