update orders set amount = amount + 1 where id = {n} % 400 + 1
update orders set note = repeat('9', {n} % 9 + 1) where id = {n} % 400 + 1
