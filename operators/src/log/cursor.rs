//! Positions in several partitions, as text such as `0@17,3@4`.

use std::fmt;
use std::str::FromStr;

/// Offsets by partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(pub Vec<(u32, u64)>);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (partition, offset)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{partition}@{offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let one = |text: &str| {
            let (partition, offset) = text.split_once('@')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        };
        text.split(',').map(one).collect::<Option<_>>().map(Self).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor(vec![(0, 17), (3, 4)]);
        assert_eq!(cursor.to_string(), "0@17,3@4");
        assert_eq!("0@17,3@4".parse(), Ok(cursor));
        for odd in ["", "17", "0@", "0@1,", "0@-1", "a@1"] {
            assert_eq!(odd.parse::<Cursor>(), Err(()), "{odd}");
        }
    }
}
