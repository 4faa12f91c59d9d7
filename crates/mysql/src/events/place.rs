//! Where in the binlog the stream is, in 64 bits.
//!
//! An event says where it ends in 32 bits, and a file may be longer: one transaction is never cut. Every event's size is known, so
//! the place is counted; what an event says corrects it (a server leaves events out that it need not send). In the file that the
//! stream began with only events of transactions are counted: others, at its head or between, come although they lie before the place.

use crate::position::file_number;
use shadowswap_core::Result;

/// The first event of a file comes after four bytes of magic.
pub(crate) const FILE_HEAD: u64 = 4;

/// A place in the binlog.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub file: String,
    pub number: u64,
    pub offset: u64,
    /// Nothing is sent from before this offset of this file.
    known: Option<(u64, u64)>,
}

impl Place {
    /// The place before anything has come. Nothing will be sent from before `offset` in `file`.
    pub(crate) fn new(file: &str, offset: u64) -> Result<Place> {
        let number = if file.is_empty() { 0 } else { file_number(file)? };
        Ok(Place { file: file.to_owned(), number, offset, known: Some((number, offset)) })
    }

    /// The same, where the server begins with the file whatever the position.
    pub(crate) fn at_head(file: &str) -> Result<Place> {
        Place::new(file, FILE_HEAD)
    }

    /// The stream goes on in this file.
    pub(crate) fn rotate(&mut self, file: &str, offset: u64) -> Result<()> {
        let number = file_number(file)?;
        if number != self.number || file != self.file {
            self.offset = offset;
        }
        (self.file, self.number) = (file.to_owned(), number);
        Ok(())
    }

    /// An event of this size says that it ends here. Gives where it begins.
    pub(crate) fn pass(&mut self, size: u32, end_low: u32) -> u64 {
        const ROUND: u64 = 1 << 32;
        let mut least = self.offset.saturating_add(u64::from(size));
        if let Some((number, offset)) = self.known
            && number == self.number
            && self.offset < offset
        {
            least = least.max(offset);
        }
        // The first place from there on that ends in the same 32 bits.
        let low = u64::from(end_low);
        let same_round = least & !(ROUND - 1) | low;
        let end = if same_round >= least { same_round } else { same_round + ROUND };
        self.offset = end;
        end.saturating_sub(u64::from(size))
    }

    /// An event between transactions says that it ends here. In the file that the stream began with it may lie before the place.
    pub(crate) fn pass_between(&mut self, size: u32, end_low: u32) {
        if self.known.is_none_or(|(number, _)| number != self.number) {
            self.pass(size, end_low);
        }
    }

    /// Whether everything before this point has come.
    pub(crate) fn has_reached(&self, number: u64, offset: u64) -> bool {
        (self.number, self.offset) >= (number, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_go_on_beyond_32_bits() {
        let mut place = Place::at_head("bin.000007").expect("a file");
        assert_eq!((place.pass(100, 104), place.offset), (4, 104));
        assert_eq!((place.pass(0x7fff_0000, 0x7fff_0068), place.offset), (104, 0x7fff_0068));
        assert_eq!(place.pass(0x7fff_0000, 0xfffe_0068), 0x7fff_0068);
        assert_eq!(place.pass(0x0002_0000, 0x68), 0xfffe_0068);
        assert_eq!((place.offset, place.number), (0x1_0000_0068, 7));
        place.rotate("bin.000008", 4).expect("a file");
        assert_eq!((place.offset, place.number), (4, 8));
    }

    #[test]
    fn events_between_transactions_count_behind_the_first_file_only() {
        let mut place = Place::new("bin.000001", 5000).expect("a file");
        place.pass_between(100, 104);
        assert!(place.has_reached(1, 5000) && !place.has_reached(1, 5001));
        place.rotate("bin.000002", 4).expect("a file");
        assert!(place.has_reached(1, 9000) && place.has_reached(2, 4));
        place.pass_between(100, 104);
        assert!(place.has_reached(2, 104) && !place.has_reached(2, 105) && !place.has_reached(3, 4));
    }

    #[test]
    fn left_out_events_are_jumped_over_and_a_resumed_stream_knows_its_round() {
        let mut place = Place::at_head("bin.000001").expect("a file");
        assert_eq!(place.pass(10, 5000), 4990);
        let mut place = Place::new("bin.000001", 0x1_0000_1000).expect("a file");
        place.rotate("bin.000001", 4).expect("a file");
        place.offset = 4;
        assert_eq!(place.pass(10, 0x2000), 0x1_0000_2000 - 10);
    }
}
