use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "00000000-0000-0000-0000-0000000000ff";

fn source(text: &str) -> [u8; 16] {
    uuid(text).expect("a uuid")
}

#[test]
fn sets_are_read_as_servers_write_them() {
    let text = format!("{A}:1-5:7-9,\n{B}:1:domain_a:1-3:5, {A}:6");
    let set: GtidSet = text.parse().expect("a set");
    assert_eq!(set.to_string(), format!("{B}:1,{B}:domain_a:1-3:5,{A}:1-9"));
    assert!(set.contains(&source(A), "", 6) && set.contains(&source(B), "domain_a", 5));
    assert!(!set.contains(&source(A), "", 10) && !set.contains(&source(A), "domain_a", 1));
    assert!(!set.contains(&source(B), "domain_a", 4) && !set.contains(&source(B), "", 2));
    assert!("".parse::<GtidSet>().expect("the empty set").is_empty());
}

#[test]
fn what_is_no_set_is_refused() {
    for text in ["x", A, "1-5", &format!("{A}:0"), &format!("{A}:5-1"), &format!("{A}:"), &format!("{A}:tag")]
    {
        assert!(text.parse::<GtidSet>().is_err(), "{text}");
    }
    let too_long = format!("{A}:9223372036854775807");
    assert!(too_long.parse::<GtidSet>().is_err());
    let mut set = GtidSet::default();
    assert!(set.insert(&source(A), "", 0).is_err() && set.insert(&source(A), "", u64::MAX).is_err());
}

#[test]
fn sids_carry_tags_and_ends_that_are_not_included() {
    let set: GtidSet = format!("{A}:1-5:9,{A}:tag:3").parse().expect("a set");
    let sids = set.sids().expect("sids");
    assert_eq!(sids.len(), 2);
    assert_eq!(sids[0].intervals(), [GnoInterval::new(1, 6), GnoInterval::new(9, 10)]);
    assert_eq!(sids[1].tag().map(|t| t.as_str()), Some("tag"));
}

#[test]
fn mariadb_keeps_the_last_of_each_domain() {
    let mut state: MariaState = "1-2-7,0-1-155".parse().expect("a state");
    assert_eq!(state.to_string(), "0-1-155,1-2-7");
    state.set(0, 3, 156);
    assert_eq!((state.to_string().as_str(), state.last(0)), ("0-3-156,1-2-7", Some((3, 156))));
    assert_eq!("".parse::<MariaState>().expect("empty").to_string(), "");
    assert!("0-1".parse::<MariaState>().is_err() && "0-1-2-3".parse::<MariaState>().is_err());
}

proptest! {
    #[test]
    fn a_set_holds_what_was_inserted_and_nothing_else(
        numbers in proptest::collection::vec((1_u64..40, any::<bool>()), 0..80),
    ) {
        let mut set = GtidSet::default();
        let mut model = BTreeSet::new();
        for (number, tagged) in numbers {
            set.insert(&source(A), if tagged { "t" } else { "" }, number).expect("a number");
            model.insert((tagged, number));
        }
        for number in 0..42 {
            for tagged in [false, true] {
                let tag = if tagged { "t" } else { "" };
                prop_assert_eq!(set.contains(&source(A), tag, number), model.contains(&(tagged, number)));
            }
        }
        for intervals in set.sources.values() {
            prop_assert!(intervals.windows(2).all(|w| w[0].1 < w[1].0), "they touch: {:?}", intervals);
        }
        prop_assert_eq!(&set.to_string().parse::<GtidSet>().expect("its own text"), &set);
    }

    #[test]
    fn intervals_in_any_order_make_the_same_set(
        intervals in proptest::collection::vec((1_u64..60, 0_u64..12), 1..12),
    ) {
        let text: Vec<String> = intervals.iter().map(|(f, n)| format!("{A}:{f}-{}", f + n)).collect();
        let set: GtidSet = text.join(",").parse().expect("a set");
        for number in 1..80 {
            let expected = intervals.iter().any(|(f, n)| number >= *f && number <= f + n);
            prop_assert_eq!(set.contains(&source(A), "", number), expected);
        }
        let mut backwards = text.clone();
        backwards.reverse();
        prop_assert_eq!(backwards.join(" ,\n").parse::<GtidSet>().expect("a set"), set);
    }
}

#[test]
fn sets_include_what_they_have_whole() {
    let set = |text: &str| text.parse::<GtidSet>().expect("a set");
    let (a, b) = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562");
    let mine = set(&format!("{a}:1-9:20-30,{a}:t:1-3"));
    for inner in ["", &format!("{a}:1-9"), &format!("{a}:2-3:21-30"), &format!("{a}:20,{a}:t:3")] {
        assert!(mine.includes(&set(inner)), "{inner}");
    }
    for outer in [format!("{a}:1-10"), format!("{a}:9-20"), format!("{b}:1"), format!("{a}:1-9,{a}:t:4")] {
        assert!(!mine.includes(&set(&outer)), "{outer}");
    }
}

#[test]
fn numbers_of_another_server_are_not_reached() {
    let state = |text: &str| text.parse::<MariaState>().expect("a state");
    let mine = state("0-1-1000,1-2-7");
    for behind in ["", "0-1-1000", "0-1-999,1-2-7"] {
        assert!(mine.has_reached(&state(behind)), "{behind}");
    }
    for ahead in ["0-1-1001", "0-2-50", "2-1-1", "0-1-1000,1-2-8"] {
        assert!(!mine.has_reached(&state(ahead)), "{ahead}");
    }
}
