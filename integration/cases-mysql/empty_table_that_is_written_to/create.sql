create table t (id int auto_increment primary key, n int);
