update orders set amount = amount + 1 where id = {n} % 400 + 1
update orders set note = 'n{n}' where id = {n} % 400 + 1
