//! Changes to plan: each is carried out and compared with the same change in place, or refused.

mod conversions;

pub use conversions::CONVERSIONS;
use shadowswap_testkit::mysql::Product;

/// A change that can be made.
pub struct Case {
    /// Makes the table `{T}`.
    pub create: &'static str,
    pub rows: &'static [&'static str],
    pub alters: &'static [&'static str],
    pub sets: &'static [(&'static str, &'static str)],
    /// What `--set` does, for the table that is changed in place.
    pub after: &'static str,
    pub notes: &'static str,
    /// New values differ from time to time.
    pub fleeting: bool,
    pub only: Option<Product>,
}

const fn case(
    create: &'static str,
    rows: &'static [&'static str],
    alters: &'static [&'static str],
    notes: &'static str,
) -> Case {
    Case { create, rows, alters, sets: &[], after: "", notes, fleeting: false, only: None }
}

const fn set(
    alters: &'static [&'static str],
    sets: &'static [(&'static str, &'static str)],
    after: &'static str,
    notes: &'static str,
) -> Case {
    Case { create: PLAIN, rows: ROWS, alters, sets, after, notes, fleeting: false, only: None }
}

const PLAIN: &str = "create table {T} (id int auto_increment primary key, a varchar(20), b int, key a (a), unique b (b)) default charset utf8mb4";
const ROWS: &[&str] = &["insert into {T} values (1, 'x', 10), (2, 'é', 20), (3, null, null)"];
const WIDE: &str = "create table {T} (k varchar(20) not null, n int not null, e enum('a','b','1') not null, s set('x','y'), \
    f float, d double, m decimal(10,3), dt datetime(6), da date, ti time(3), ts timestamp(3) null, y year, bt bit(9), bi binary(4), \
    vb varbinary(10), tx text, bl blob, l1 varchar(20) character set latin1, primary key (k, n), unique u (n, k)) default charset utf8mb4";
const WIDE_ROWS: &[&str] = &[
    "insert into {T} values ('a', 1, 'b', 'x,y', 0.1, 0.1, 1.255, '2020-01-02 03:04:05.678901', '2020-01-02', '-12:13:14.5', \
     '2020-01-02 03:04:05.678', 2020, 257, 'ab', 'a\\0b', 'é', 'é', 'é'), \
     ('a', 2, '1', '', 1e20, 1e20, -1.5, '1000-01-01', '0000-00-00', '838:59:59', '2038-01-01', 0, 0, '', '', '', '', '')",
    "insert into {T} (k, n, e) values ('Ä', -1, 'a')",
];
const SPACE: &str = "create table {T} (id int primary key, p point not null, j json, spatial key sp (p))";
const SPACE_ROWS: &[&str] = &["insert into {T} values (1, point(1, 2), '{\"a\": [1, 2.50]}')"];

/// Changes that can be made.
pub const CASES: &[Case] = &[
    case(PLAIN, ROWS, &[], "id:same a:same b:same"),
    case(PLAIN, ROWS, &["add c int"], "id:same a:same b:same c:new"),
    case(PLAIN, ROWS, &["add column c varchar(9) not null default 'ü' first, drop b"], "c:new id:same a:same"),
    case(
        PLAIN,
        ROWS,
        &["add (i int not null, s text not null, e enum('q','r') not null, st set('x') not null, t time not null, y year not null, \
            f double not null, m decimal(9,2) not null, vb varbinary(4) not null, bi binary(3) not null, bt bit(3) not null)"],
        "id:same a:same b:same i:new s:new e:new st:new t:new y:new f:new m:new vb:new bi:new bt:new",
    ),
    case(PLAIN, ROWS, &["CHANGE b `B new` bigint DEFAULT 7", "change `B new` b bigint DEFAULT 7"], "id:same a:same b:type"),
    case(PLAIN, ROWS, &["rename column a to b, rename column b to a"], "id:same b:renamed a:renamed"),
    case(PLAIN, ROWS, &["change a b varchar(20), change b a int"], "id:same b:renamed a:renamed"),
    case(PLAIN, ROWS, &["modify b bigint after id, modify A varchar(30)"], "id:same b:type A:type"),
    case(PLAIN, ROWS, &["modify id bigint unsigned auto_increment"], "id:type a:same b:same"),
    case(PLAIN, ROWS, &["change id `new id` bigint auto_increment"], "new id:type a:same b:same"),
    case(PLAIN, ROWS, &["drop index a, drop index b, add unique key ab (a, b), add index p (a(3) desc)"], "id:same a:same b:same"),
    case(PLAIN, ROWS, &["add fulltext key ft (a)", "comment = 'with ''quotes'' AUTO_INCREMENT=7'"], "id:same a:same b:same"),
    case(PLAIN, ROWS, &["convert to character set latin1"], "id:same a:type b:same"),
    case(PLAIN, ROWS, &["drop a", "add a int default 5"], "id:same b:same a:new"),
    case(
        PLAIN,
        ROWS,
        &["add g int generated always as (b * 2) stored, add v varchar(40) generated always as (concat(a, 'é')) virtual, add key (v)"],
        "id:same a:same b:same g:generated v:generated",
    ),
    case(PLAIN, ROWS, &["add check (b >= 0), add constraint named check (b < 1000)"], "id:same a:same b:same").maria(),
    // There, the shadow and the table that is changed in place could not both have a constraint of one name.
    case(PLAIN, ROWS, &["add check (b >= 0), add check (b < 1000)"], "id:same a:same b:same").mysql(),
    case(
        "create table {T} (id int primary key, v int, g int generated always as (v + 1) stored)",
        &["insert into {T} (id, v) values (1, 1), (2, null)"],
        &["modify g int"],
        "id:same v:same g:same",
    ),
    case(PLAIN, ROWS, &["row_format = dynamic, engine = innodb"], "id:same a:same b:same"),
    case(PLAIN, ROWS, &["drop index b", "partition by hash (id) partitions 3"], "id:same a:same b:same"),
    case(PLAIN, ROWS, &["auto_increment = 1000"], "id:same a:same b:same"),
    case(PLAIN, ROWS, &["alter b set default 7, alter column a drop default"], "id:same a:same b:same"),
    case(
        PLAIN,
        &["insert into {T} values (1, 'x', 10), (2, 'é', 20)"],
        &["drop primary key, modify b int not null, drop index b, add primary key (b, id), add unique id (id)"],
        "id:same a:same b:same",
    ),
    case(
        "create table {T} (id int not null, u binary(4) not null, primary key (id), unique u (u))",
        &["insert into {T} values (1, 'a'), (2, 'b')"],
        &["drop primary key, add primary key (u), drop index u, add unique id (id)"],
        "id:same u:same",
    ),
    case(
        "create table {T} (u varchar(9) not null, v int, unique u (u))",
        &["insert into {T} values ('a', 1), ('B', 2)"],
        &["add id bigint auto_increment primary key first, modify u varchar(90) not null"],
        "id:new u:type v:same",
    ),
    case(WIDE, WIDE_ROWS, &[], "k:same n:same e:same s:same f:same d:same m:same dt:same da:same ti:same ts:same y:same bt:same bi:same vb:same tx:same bl:same l1:same"),
    case(
        WIDE,
        WIDE_ROWS,
        &["modify n bigint not null, modify k varchar(25) not null, modify e enum('1','b','new','a') not null, modify s set('y','z','x'), \
            modify f double, modify d varchar(40), modify m decimal(12,1), modify dt datetime, modify da varchar(20), modify ti time, \
            modify ts timestamp, modify y smallint, modify bt int, modify bi varbinary(8), modify vb blob, modify tx varchar(30), \
            modify bl text, modify l1 varchar(20) character set utf8mb4"],
        "k:type n:type e:type s:type f:type d:type m:type dt:type da:type ti:type ts:type y:type bt:type bi:type vb:type tx:type bl:type l1:type",
    ),
    case(
        WIDE,
        WIDE_ROWS,
        &["change e `E 2` varchar(9) not null, change s e text, drop f, modify dt date, modify da datetime, modify ti varchar(20), \
            modify tx mediumtext character set utf8mb4 collate utf8mb4_bin, modify m varchar(20), modify l1 varbinary(30)"],
        "k:same n:same E 2:type e:type d:same m:type dt:type da:type ti:type ts:same y:same bt:same bi:same vb:same tx:type bl:same l1:type",
    ),
    case(
        PLAIN,
        ROWS,
        &["add d date not null, add dt datetime(2) not null, add ts timestamp not null, add ts6 timestamp(6) not null"],
        "id:same a:same b:same d:new dt:new ts:new ts6:new",
    ),
    case(
        "create table {T} (id int not null, d date not null, a int, primary key (id, d), key a (a)) \
            partition by range columns (d) (partition p0 values less than ('2020-01-01'), partition p1 values less than (maxvalue))",
        &["insert into {T} values (1, '2019-01-01', 1), (2, '2021-01-01', 2)"],
        &["add b int, modify a bigint"],
        "id:same d:same a:type b:new",
    ),
    case(
        "create table {T} (id int not null, d date not null, a int, primary key (id, d)) partition by hash (id) partitions 2",
        &["insert into {T} values (1, '2019-01-01', 1), (2, '2021-01-01', 2)"],
        &["remove partitioning"],
        "id:same d:same a:same",
    ),
    case(
        "create table {T} (my_row_id bigint unsigned not null auto_increment invisible primary key, a int)",
        &["insert into {T} (a) values (1), (2)"],
        &["add b int"],
        "my_row_id:same a:same b:new",
    ),
    case(
        "create table {T} (`Id ``x` int primary key, `ключ` enum('ä','b''c','d,e') not null default 'd,e', `a.b` text, key `k,(` (`ключ`)) \
            comment = 'a, (b' default charset utf8mb4",
        &["insert into {T} values (1, 'ä', 'x'), (2, 'b''c', null), (3, 'd,e', '')"],
        &["change `ключ` `Ключ 2` enum('d,e','b''c','ä','new)') not null default 'ä' comment 'rename column a to b', add `select` int after `a.b`"],
        "Id `x:same Ключ 2:type a.b:same select:new",
    ),
    case(SPACE, SPACE_ROWS, &["add a int, modify j longtext"], "id:same p:same j:type a:new"),
    case(SPACE, SPACE_ROWS, &["drop index sp, add n json"], "id:same p:same j:same n:new"),
    case(
        PLAIN,
        ROWS,
        &["add c timestamp null default current_timestamp on update current_timestamp, add u varchar(36) default (uuid()), rename index a to `a z`"],
        "id:same a:same b:same c:new u:new",
    )
    .fleeting()
    .maria(),
    case(
        PLAIN,
        ROWS,
        &["add h int invisible default 3, alter index a invisible, add index f ((upper(a))), add check (b <> 5) not enforced, add j json default (json_array())",
            "add c timestamp null default current_timestamp on update current_timestamp"],
        "id:same a:same b:same h:new j:new c:new",
    )
    .fleeting()
    .mysql(),
    case(PLAIN, ROWS, &["add h int invisible default 3, alter index a ignored, add u uuid not null default '00000000-0000-0000-0000-000000000001'"], "id:same a:same b:same h:new u:new").maria(),
    case(
        "create table {T} (id int primary key, v int, g int generated always as (v + 1) stored, h int generated always as (v + 2) virtual, key (g))",
        &["insert into {T} (id, v) values (1, 1), (2, null)"],
        &["modify v bigint, add key (h)"],
        "id:same v:type g:generated h:generated",
    ),
    set(&["add c varchar(60) not null"], &[("c", "concat(coalesce(a, 'né'), '-', id)")], "update ref set c = concat(coalesce(a, 'né'), '-', id)", "id:same a:same b:same c:computed"),
    set(&["add c int", "modify a varchar(5)"], &[("`c`", "a = 'X'"), ("A", "left(a, 1) -- first")], "update ref set c = a = 'X', a = left(a, 1)", "id:same a:computed b:same c:computed"),
    set(&["add c datetime"], &[("c", "from_unixtime(b)")], "update ref set c = from_unixtime(b)", "id:same a:same b:same c:computed"),
    set(&["add c date"], &[("c", "date '2020-01-02' + interval b day")], "update ref set c = date '2020-01-02' + interval b day", "id:same a:same b:same c:computed"),
];

impl Case {
    const fn maria(mut self) -> Case {
        self.only = Some(Product::MariaDb);
        self
    }

    const fn mysql(mut self) -> Case {
        self.only = Some(Product::MySql);
        self
    }

    const fn fleeting(mut self) -> Case {
        self.fleeting = true;
        self
    }
}

/// A change that is refused.
pub struct Refused {
    pub create: &'static [&'static str],
    pub alters: &'static [&'static str],
    pub sets: &'static [(&'static str, &'static str)],
    /// What the refusal says.
    pub says: &'static str,
    pub only: Option<Product>,
}

const fn refused(
    create: &'static [&'static str],
    alters: &'static [&'static str],
    says: &'static str,
) -> Refused {
    Refused { create, alters, sets: &[], says, only: None }
}

const fn bad_set(
    alters: &'static [&'static str],
    sets: &'static [(&'static str, &'static str)],
    says: &'static str,
) -> Refused {
    Refused { create: T, alters, sets, says, only: None }
}

const T: &[&str] = &[
    "create table t (id int auto_increment primary key, a varchar(20), ts timestamp null, g int generated always as (length(a)) stored)",
];

const P: &[&str] = &["create table t (id int primary key, a varchar(20))"];

/// Changes that are refused.
pub const REFUSED: &[Refused] = &[
    refused(T, &["add x int,"], "does not begin with a word"),
    refused(T, &["add x nothing"], "trying `alter table t add x nothing` on an empty copy: error"),
    refused(T, &["modify nope int"], "nope"),
    refused(T, &["add id int"], "error 1060"),
    refused(T, &["alter table t add x int"], "begins with ALTER TABLE"),
    refused(T, &["rename to x"], "renames the table"),
    refused(P, &["drop a, add a int"], "dropped, and there afterwards"),
    refused(P, &["change a b int, add a int"], "names a anew"),
    refused(T, &["modify ts datetime"], "time zone"),
    refused(T, &["modify a timestamp null"], "time zone"),
    refused(T, &["modify a int", "modify a bigint"], "more than once"),
    refused(T, &["add c int default 1", "alter c set default 2"], "changes again later"),
    refused(T, &["add p point not null"], "no zero value"),
    refused(T, &["engine = myisam"], "table of MyISAM"),
    refused(T, &["drop primary key, modify id int"], "no key that both tables share"),
    refused(T, &["modify id smallint auto_increment"], "may not keep its values apart"),
    refused(T, &["modify id varchar(20)"], "may not keep its values apart"),
    refused(T, &["modify g int", "modify g int default 1"], "generated at one time"),
    refused(&["create table t (a int, b int, unique (a, b))"], &["add c int"], "may be NULL"),
    refused(&["create table t (a int)"], &["add c int"], "no primary key and no unique index"),
    refused(&["create table t (a double primary key)"], &["add c int"], "by which rows cannot be named"),
    refused(&["create table t (a varchar(200), unique (a(10)))"], &["add c int"], "only the beginnings"),
    refused(&["create table t (a int primary key) engine = myisam"], &["add c int"], "table of MyISAM"),
    refused(
        &[
            "create table parent (id int primary key)",
            "create table t (id int primary key, p int, constraint fk foreign key (p) references parent (id))",
        ],
        &["add c int"],
        "foreign keys of the table: fk",
    ),
    refused(
        &[
            "create table t (id int primary key)",
            "create table child (p int, constraint fk foreign key (p) references t (id))",
        ],
        &["add c int"],
        "foreign keys to the table: fk",
    ),
    refused(
        &[
            "create table t (id int primary key, a int)",
            "create trigger tr before insert on t for each row set new.a = 1",
        ],
        &["add c int"],
        "triggers on the table: tr",
    ),
    refused(
        &["create table t (id int primary key)", "create table if not exists _t_old (x int)"],
        &["add c int"],
        "_t_old is there already",
    ),
    Refused {
        only: Some(Product::MariaDb),
        ..refused(
            &["create table t (id int primary key, a text compressed)"],
            &["add c int"],
            "compressed columns: a",
        )
    },
    Refused {
        only: Some(Product::MariaDb),
        ..refused(
            &["create table t (id int primary key) with system versioning"],
            &["add c int"],
            "system-versioned",
        )
    },
    Refused {
        only: Some(Product::MariaDb),
        ..refused(&["create table t (id uuid primary key)"], &["add c int"], "by which rows cannot be named")
    },
    Refused {
        only: Some(Product::MySql),
        ..refused(
            &["create table t (id int primary key, a int, constraint pos check (a > 0))"],
            &["drop check pos"],
            "error 3821",
        )
    },
    bad_set(&["add c int"], &[("x", "1")], "no such column"),
    bad_set(&["add c int"], &[("g", "1")], "generated"),
    bad_set(&["add c int"], &[("c", "1"), ("c", "2")], "given twice"),
    bad_set(&["add c int"], &[("c", "nope + 1")], "nope"),
    bad_set(&["add c int"], &[("c", "1), (2")], "bracket"),
    bad_set(&["add c int"], &[("c", "1 +")], "error 1064"),
    bad_set(&["add c int"], &[("c", "rand()")], "rand"),
    bad_set(&["add c int"], &[("c", "@x")], "error"),
    bad_set(&["add c int"], &[("c", "(select 1)")], "error"),
    bad_set(&["add c int"], &[("c", "count(*)")], "error"),
    bad_set(&["add c datetime"], &[("c", "now()")], "error"),
    bad_set(&["add c int not null"], &[("id", "id + 1")], "no key"),
];
