create table if not exists {control}.setting (
    migration bigint not null,
    name varchar(64) not null,
    value longtext not null,
    who varchar(255) not null,
    at datetime(6) not null,
    primary key (migration, name)
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin;

create table if not exists {control}.report (
    migration bigint not null primary key,
    report longtext not null
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin;

create table if not exists {control}.probe (
    migration bigint not null primary key,
    at datetime(6) not null
) engine = InnoDB
