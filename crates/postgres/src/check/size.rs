//! Disk and time.

use super::Facts;
use shadowswap_core::plan::{Finding, Size};

/// Rows a second and bytes a second of a copy with its indexes, measured on two cores with two workers (1M rows, 326 MB of heap: 3.6 s),
/// halved for a server that has other things to do.
const ROWS_A_SECOND: u64 = 140_000;
const BYTES_A_SECOND: u64 = 45 << 20;
/// Below this nobody need look at the disk.
const SMALL_BYTES: u64 = 1 << 30;

/// Sizes, and what follows from them.
pub fn size(facts: &Facts) -> Size {
    let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
    let table = &facts.table;
    let (rows, table_bytes, index_bytes) =
        (bytes(table.rows), bytes(table.table_bytes), bytes(table.index_bytes));
    let disk_bytes = table_bytes + index_bytes;
    Size {
        rows,
        table_bytes,
        index_bytes,
        disk_bytes,
        // Measured: 591 MB for 326 MB of heap and its key; indexes are written once more.
        log_bytes: table_bytes.saturating_mul(9) / 5 + index_bytes,
        seconds: (rows / ROWS_A_SECOND).max(disk_bytes / BYTES_A_SECOND) + 1,
    }
}

pub fn check(facts: &Facts) -> Vec<Finding> {
    let size = size(facts);
    let mib = |bytes: u64| bytes >> 20;
    let message = format!(
        "the shadow will take about {} MiB of disk, and the copy write about {} MiB of WAL",
        mib(size.disk_bytes),
        mib(size.log_bytes)
    );
    if size.disk_bytes < SMALL_BYTES {
        return vec![Finding::passed("disk", message)];
    }
    vec![Finding::warning("disk", message, "make sure that data disk, WAL disk and replicas have that room")]
}
