update orders set amount = amount + 1 where id = {n} % 400 + 1
