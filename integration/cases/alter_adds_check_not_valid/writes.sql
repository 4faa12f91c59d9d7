update orders set note = 'n{n}' where id = {n} % 70 + 1
