update "a\b%s{}" set "n{}" = "n{}" + 1 where "i\d" = {n} % 300 + 1
insert into "a\b%s{}" ("v%") values ('new{n}')
delete from "a\b%s{}" where "v%" = 'new' || ({n} - 5)
