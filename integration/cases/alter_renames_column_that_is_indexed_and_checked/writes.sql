update orders set note = 'n{n}' where id = {n} % 400 + 1
delete from orders where id = 401 - {n} % 100
update orders set status = 'paid', note = null where id = ({n} + 9) % 400 + 1
