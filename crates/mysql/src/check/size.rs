//! Disk and time.

use super::Facts;
use shadowswap_core::plan::{Finding, Size};

/// Rows a second of a copy by two workers, measured on two cores (1M rows of 265 MB: 200,000, and indexes after it a third of that time),
/// halved for a server that has other things to do; and bytes a second of the same.
const ROWS_A_SECOND: u64 = 80_000;
const BYTES_A_SECOND: u64 = 30 << 20;
/// Below this nobody need look at the disk.
const SMALL_BYTES: u64 = 1 << 30;

/// Sizes, and what follows from them.
pub fn size(facts: &Facts) -> Size {
    let disk_bytes = facts.table_bytes.saturating_add(facts.index_bytes);
    Size {
        rows: facts.rows,
        table_bytes: facts.table_bytes,
        index_bytes: facts.index_bytes,
        disk_bytes,
        // Row images of the copy; indexes are not in the binlog.
        log_bytes: facts.table_bytes,
        seconds: (facts.rows / ROWS_A_SECOND).max(disk_bytes / BYTES_A_SECOND) + 1,
    }
}

pub fn check(facts: &Facts) -> Vec<Finding> {
    let size = size(facts);
    let mib = |bytes: u64| bytes >> 20;
    let message = format!(
        "the shadow will take about {} MiB of disk, and the copy write about {} MiB of binlog",
        mib(size.disk_bytes),
        mib(size.log_bytes)
    );
    if size.disk_bytes < SMALL_BYTES {
        return vec![Finding::passed("disk", message)];
    }
    vec![Finding::warning(
        "disk",
        message,
        "make sure that data disk, binlog disk and replicas have that room",
    )]
}
