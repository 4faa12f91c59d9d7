//! Both ends interleaved at random, with random sizes, limits and dropped futures.

use proptest::prelude::*;
use tokio::runtime;

use super::*;
use crate::queue::RECORD_OVERHEAD;

#[derive(Clone, Copy, Debug)]
enum Step {
    Next,
    DroppedNext,
    TryNext,
    Yield,
    Pause,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Step::{DroppedNext, Next, Pause, TryNext, Yield};
    let step = prop_oneof![
        4 => Just(Next), 2 => Just(DroppedNext), 2 => Just(TryNext), 2 => Just(Yield), 1 => Just(Pause)
    ];
    prop::collection::vec(step, 1..40)
}

fn limits() -> impl Strategy<Value = Limits> {
    (0..6000_usize, 3000..40_000_u64, 0..4000_u64).prop_map(|(memory_bytes, disk_bytes, segment_bytes)| {
        Limits { memory_bytes, disk_bytes, segment_bytes }
    })
}

async fn produce(mut writer: Writer, sizes: &[usize], drops: &[bool], directory: &TempDir, limits: Limits) {
    for (i, &size) in sizes.iter().enumerate() {
        if drops[i % drops.len()] {
            // A dropped append either was ready, and then counts, or never was.
            match once(writer.append(record(i, size))).await {
                Some(done) => done.unwrap(),
                None => writer.append(record(i, size)).await.unwrap(),
            }
            yield_now().await;
        } else {
            writer.append(record(i, size)).await.unwrap();
        }
        let largest = sizes.iter().max().unwrap().max(&8) + RECORD_OVERHEAD;
        let stats = writer.stats();
        assert!(stats.memory_bytes <= limits.memory_bytes.max(largest) as u64 + largest as u64, "{stats:?}");
        assert!(file_bytes(directory) <= limits.disk_bytes);
    }
}

async fn consume(mut reader: Reader, sizes: &[usize], steps: &[Step]) {
    let mut taken = 0;
    for step in steps.iter().cycle() {
        let found = match step {
            Step::Next => match reader.next().await.unwrap() {
                None => break,
                found => found,
            },
            Step::DroppedNext => once(reader.next()).await.and_then(|found| found.unwrap()),
            Step::TryNext => reader.try_next().unwrap(),
            Step::Yield => {
                yield_now().await;
                None
            }
            Step::Pause => {
                sleep(Duration::from_micros(200)).await;
                None
            }
        };
        if let Some(found) = found {
            assert_eq!(found, record(taken, sizes[taken]));
            taken += 1;
        }
        if taken == sizes.len() {
            assert!(reader.next().await.unwrap().is_none());
            assert!(reader.try_next().unwrap().is_none());
            break;
        }
    }
    assert_eq!(taken, sizes.len());
    assert_eq!(reader.stats().records, 0);
    assert_eq!(reader.stats().memory_bytes, 0);
    assert_eq!(reader.stats().disk_bytes, 0);
}

proptest! {
    #[test]
    fn all_records_come_once_and_in_order(
        sizes in prop::collection::vec(prop_oneof![3 => 8..100_usize, 1 => 100..2500_usize], 1..300),
        limits in limits(),
        steps in steps(),
        drops in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (writer, reader) = open_in(&directory, limits);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // At least one step of the consumer must make progress by itself.
        let steps: Vec<_> = steps.into_iter().chain([Step::Next]).collect();
        runtime.block_on(in_time(async {
            tokio::join!(produce(writer, &sizes, &drops, &directory, limits), consume(reader, &sizes, &steps));
        }));
    }
}
