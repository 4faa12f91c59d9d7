create table t (id int auto_increment primary key, a int not null default 7, b varchar(10) default 'd', c timestamp null default null);
insert into t (id) values (1), (2);
