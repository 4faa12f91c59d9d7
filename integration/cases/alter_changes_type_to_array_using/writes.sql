update orders set note = note || ' {n}' where id = {n} % 400 + 1
