//! Our own swaps in the binlog.
//!
//! After a swap the stream follows another table by the same name, and begins exactly behind the statement that swapped the names.
//! The checkpoint may be older than that: what was applied last under the lock is not noted, and the run may have died right after.
//! So everything is left out until the statement has come by. It says in a comment which swap it is: of a table that was swapped,
//! swapped back and swapped again there are several in the binlog, and only the last is right.

use super::statement::{self, Dialect};
use crate::position::Position;

/// The text of a swap's comment: whose it is, and how many of its migration it makes.
fn text(control: &str, migration: i64, turn: i64) -> String {
    // Whose control tables: names that differ in case alone may be one.
    let owner = crate::server_id(&control.to_lowercase(), migration);
    format!(" shadowswap swap {owner:08x} {migration} {turn} ")
}

/// The comment for the statement that makes this swap.
pub(crate) fn comment(control: &str, migration: i64, turn: i64) -> String {
    format!("/*{}*/", text(control, migration, turn))
}

/// A swap that the stream begins behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    text: String,
    turn: i64,
    /// Where the binlog ended when the stream was opened: the swap is before that.
    pub upto: Position,
}

impl Behind {
    /// This swap of a migration's. `upto`: a place after it.
    pub(crate) fn new(control: &str, migration: i64, turn: i64, upto: Position) -> Behind {
        Behind { text: text(control, migration, turn), turn, upto }
    }

    /// Whether this is the statement that made it.
    pub(crate) fn is_made_by(&self, sql: &[u8], dialect: Dialect) -> bool {
        statement::is_rename_with(sql, dialect, self.text.as_bytes())
    }

    /// Which it is, for people.
    pub(crate) fn turn(&self) -> i64 {
        self.turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_swap_is_found() {
        let behind = |turn| Behind::new("shadowswap", 7, turn, Position::default());
        let made = format!(
            "rename table `s`.`t` to `s`.`_t_old`, `s`.`x` to `s`.`t` /* shadowswap */ {}",
            comment("Shadowswap", 7, 2)
        );
        let is = |sql: &str, turn| behind(turn).is_made_by(sql.as_bytes(), Dialect::default());
        assert!(is(&made, 2) && !is(&made, 1) && !is(&made, 3));
        for other in [comment("shadowswap", 8, 2), comment("other", 7, 2), comment("shadowswap", 7, 22)] {
            assert!(!is(&format!("rename table a to b {other}"), 2), "{other}");
        }
        let mine = comment("shadowswap", 7, 2);
        assert!(!is(&format!("alter table a comment '{mine}'"), 2));
        assert!(!is(&format!("rename table a to `{mine}`"), 2));
        assert!(!is(&format!("-- {mine}\nrename table a to b"), 2));
        assert!(!is(&format!("drop table a {mine}"), 2));
    }
}
