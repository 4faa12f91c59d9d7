//! Events that nobody vouches for: no panic, whatever comes.

use super::*;
use proptest::prelude::*;

/// Events of every kind that is taken apart, as a server sends them.
fn samples() -> Vec<(u8, Vec<u8>)> {
    let mut tagged = vec![1, 1, 2, 0];
    tagged.extend_from_slice(&SOURCE);
    let mut update = row(1);
    update.splice(9..9, [1]);
    update.extend_from_slice(&[0, 2, 0, 0, 0]);
    vec![
        (33, gtid(12)),
        (34, gtid(1)),
        (42, tagged),
        (162, [&7_u64.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0, 0, 0, 0]].concat()),
        (2, query("BEGIN")),
        (2, query("ALTER TABLE `shop`.`t` ADD x int /* '")),
        (2, query("XA START X'61',X'62',1")),
        (18, query("LOAD DATA INFILE 'a' INTO TABLE t")),
        (165, [query(""), vec![0x81, 5, 0x78, 0x9c, 1, 2, 3]].concat()),
        (19, map("t")),
        (19, map("shadowswap")),
        (23, row(5)),
        (24, update),
        (25, row(5)),
        (30, [&row(5)[..8], &[2, 0], &row(5)[8..]].concat()),
        (39, row(5)),
        (166, row(5)),
        (16, vec![0; 8]),
        (38, vec![1; 40]),
        (40, vec![0; 9]),
        (4, [&4_u64.to_le_bytes()[..], b"bin.000003"].concat()),
        (15, vec![4; 100]),
        (26, vec![1, 0]),
        (41, vec![0; 4]),
    ]
}

type Step = (prop::sample::Index, Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let cut = prop::option::weighted(0.2, any::<prop::sample::Index>());
    prop::collection::vec((any::<prop::sample::Index>(), changes, cut, any::<bool>()), 1..30)
}

/// Gives damaged events one after the other, as if no error were one: more states are seen.
fn give(mut feed: Feed, steps: &[Step]) {
    let samples = samples();
    for (sample, changes, cut, is_unpacked) in steps {
        let (kind, mut data) = samples[sample.index(samples.len())].clone();
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = *byte;
        }
        if let Some(cut) = cut {
            data.truncate(cut.index(data.len()));
        }
        let _ = if *is_unpacked { feed.give_unpacked(kind, &data) } else { feed.give(kind, &data) };
        let _ = (feed.seen(), feed.assembly.position(), feed.assembly.has_its_swap());
    }
}

proptest! {
    #[test]
    fn no_events_make_it_panic(steps in steps(), behind: bool) {
        let from = |gtids: &str| Position { gtids: gtids.into(), file: "bin.000002".into(), offset: 4 };
        give(Feed::new(mysql(), 4), &steps);
        give(Feed::new(assembly("8.0.36", false, &from("@u"), true), 4), &steps);
        give(Feed::new(assembly("10.11.6-MariaDB", true, &from("0-1-3"), false), u64::from(u32::MAX) - 50), &steps);
        if behind {
            give(turned(1), &steps);
        }
    }

    #[test]
    fn no_statement_makes_it_panic(sql in "[a-z`'\"\\\\#*/!();=. \\n,éA\u{0}-]{0,60}", verb in "(alter table|rename table|insert into|xa commit|/\\*M!100100) ?") {
        let mut feed = Feed::new(mysql(), 4);
        for text in [sql.clone(), format!("{verb}{sql}"), format!("{verb}t {sql}")] {
            let _ = feed.give(33, &gtid(1));
            let _ = feed.give(2, &query(&text));
        }
    }
}
