update "Bestellungen_größer_€_😀" set "номер" = "номер" + 1 where "schlüssel" = {n} % 300 + 1
insert into "Bestellungen_größer_€_😀" ("wért") values ('new{n}')
delete from "Bestellungen_größer_€_😀" where "wért" = 'new' || ({n} - 5)
