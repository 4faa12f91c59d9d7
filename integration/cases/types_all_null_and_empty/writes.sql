update t set a = null, b = '', c = null where id = {n} % 500 + 1
update t set a = '', b = null, c = '{NULL}' where id = ({n} + 7) % 500 + 1
insert into t (id) values (1000 + {n})
