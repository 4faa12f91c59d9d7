create table if not exists {control}.version (
    version int not null primary key
) engine = InnoDB;

create table if not exists {control}.migration (
    id bigint not null auto_increment primary key,
    table_schema varchar(64) not null,
    table_name varchar(64) not null,
    phase varchar(16) not null,
    epoch bigint not null,
    plan_id varchar(64) not null,
    plan longtext not null,
    paused boolean not null default false,
    runner varchar(255),
    progress longtext,
    error longtext,
    stall_ms double,
    copy_begun boolean not null default false,
    copy_last longtext,
    turn bigint not null default 0,
    swap_position longtext,
    guard_from datetime(3),
    guard_until datetime(3),
    started_at datetime(3) not null,
    updated_at datetime(3) not null,
    ended_at datetime(3),
    unfinished tinyint generated always as (case when phase in ('done', 'aborted', 'rolledback') then null else 1 end) stored,
    unique key unfinished (table_schema, table_name, unfinished)
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin;

create table if not exists {control}.checkpoint (
    migration bigint not null primary key,
    epoch bigint not null,
    writer bigint not null default 0,
    position longtext,
    turn bigint not null default 0,
    changes bigint not null default 0,
    applied_at datetime(3)
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin;

create table if not exists {control}.chunk (
    migration bigint not null,
    id bigint not null,
    epoch bigint not null,
    attempt int not null,
    lower_key longtext,
    upper_key longtext,
    done boolean not null default false,
    copied bigint not null default 0,
    primary key (migration, id)
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin;

create table if not exists {control}.event (
    id bigint not null auto_increment primary key,
    migration bigint not null,
    at datetime(3) not null,
    who varchar(255) not null,
    what longtext not null,
    key of_migration (migration, id)
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin;

create table if not exists {control}.command (
    id bigint not null auto_increment primary key,
    migration bigint not null,
    at datetime(3) not null,
    who varchar(255) not null,
    command varchar(16) not null,
    taken_at datetime(3),
    key of_migration (migration, id)
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin;

create table if not exists {control}.marker (
    migration bigint not null,
    token bigint unsigned not null,
    primary key (migration, token)
) engine = InnoDB;

create table if not exists {control}.session (
    connection bigint unsigned not null primary key,
    migration bigint not null
) engine = InnoDB
