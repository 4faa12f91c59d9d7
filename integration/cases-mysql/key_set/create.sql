create table t (k set('x','y','z'), n int, primary key (k));
insert into t values ('', 1), ('x,z', 2), ('y', 3);
