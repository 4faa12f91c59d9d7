update "my ""odd"" table; drop" set "n,%$1" = "n,%$1" + 1 where "the id" = {n} % 300 + 1
insert into "my ""odd"" table; drop" ("it's ""v""") values ('new{n}')
delete from "my ""odd"" table; drop" where "it's ""v""" = 'new' || ({n} - 5)
