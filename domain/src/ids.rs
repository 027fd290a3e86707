//! Identifiers and small values that cannot be wrong once they exist: they are parsed at the edge.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a value was not accepted. `code` is stable; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct InvalidValue {
    /// Stable name of the rule that was broken.
    pub code: &'static str,
    /// What the rule is, in words.
    pub detail: String,
}

impl InvalidValue {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Longest identifier in characters.
pub const ID_CHARS_MAX: usize = 64;
/// Longest free text (a reason, a reference) in characters.
pub const TEXT_CHARS_MAX: usize = 200;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(String);

        impl $name {
            /// Accepts 1..=64 ASCII letters, digits and `-_.:`.
            ///
            /// # Errors
            /// Says which rule was broken.
            pub fn parse(text: &str) -> Result<Self, InvalidValue> {
                parse_id($what, text).map(Self)
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Stock keeping unit: the key of a stock item.
    Sku,
    "a SKU"
);
text_id!(
    /// Who buys.
    CustomerId,
    "a customer id"
);
text_id!(
    /// Names a hold on stock; chosen by whoever reserves.
    ReservationId,
    "a reservation id"
);

fn parse_id(what: &str, text: &str) -> Result<String, InvalidValue> {
    if text.is_empty() || text.len() > ID_CHARS_MAX {
        return Err(InvalidValue::new("invalid_length", format!("{what} has 1 to {ID_CHARS_MAX} characters")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if !text.chars().all(allowed) {
        return Err(InvalidValue::new(
            "invalid_character",
            format!("{what} consists of ASCII letters, digits and -_.:"),
        ));
    }
    Ok(text.to_owned())
}

/// Free text for people, such as a reason: 1..=200 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Text(String);

impl Text {
    /// Accepts the text as it is.
    ///
    /// # Errors
    /// Says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        if text.trim().is_empty() || text.chars().count() > TEXT_CHARS_MAX {
            return Err(InvalidValue::new(
                "invalid_length",
                format!("text has 1 to {TEXT_CHARS_MAX} characters and is not blank"),
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidValue::new("invalid_character", "text has no control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Identifies an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Units on an order line: 1..=9,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quantity(u32);

impl Quantity {
    /// Most units on one order line or in one reservation.
    pub const MAX: u32 = 9_999;

    /// Accepts 1..=9,999.
    ///
    /// # Errors
    /// `out_of_range` otherwise.
    pub fn new(units: u64) -> Result<Self, InvalidValue> {
        bounded(units, Self::MAX).map(Self)
    }

    /// The number of units.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Units in one delivery: 1..=1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveredQuantity(u32);

impl DeliveredQuantity {
    /// Most units in one delivery.
    pub const MAX: u32 = 1_000_000;

    /// Accepts 1..=1,000,000.
    ///
    /// # Errors
    /// `out_of_range` otherwise.
    pub fn new(units: u64) -> Result<Self, InvalidValue> {
        bounded(units, Self::MAX).map(Self)
    }

    /// The number of units.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

fn bounded(units: u64, max: u32) -> Result<u32, InvalidValue> {
    match u32::try_from(units) {
        Ok(units) if (1..=max).contains(&units) => Ok(units),
        _ => Err(InvalidValue::new("out_of_range", format!("quantity is 1 to {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_a_length_and_an_alphabet() {
        assert_eq!(Sku::parse("A-1_b.2:c").map(|s| s.to_string()), Ok("A-1_b.2:c".into()));
        assert_eq!(Sku::parse("").unwrap_err().code, "invalid_length");
        assert_eq!(Sku::parse(&"x".repeat(65)).unwrap_err().code, "invalid_length");
        for bad in ["a b", "a/b", "ä", "a\u{0}b", "a\nb"] {
            assert_eq!(Sku::parse(bad).unwrap_err().code, "invalid_character", "{bad:?}");
        }
    }

    #[test]
    fn quantities_have_bounds() {
        assert!(Quantity::new(0).is_err() && Quantity::new(10_000).is_err() && Quantity::new(u64::MAX).is_err());
        assert_eq!(Quantity::new(9_999).map(Quantity::get), Ok(9_999));
        assert!(DeliveredQuantity::new(1_000_001).is_err());
    }

    #[test]
    fn text_has_no_control_characters() {
        assert!(Text::parse("changed my mind ✓").is_ok());
        assert_eq!(Text::parse("a\u{7}").unwrap_err().code, "invalid_character");
        assert_eq!(Text::parse("  ").unwrap_err().code, "invalid_length");
        assert_eq!(Text::parse(&"ä".repeat(201)).unwrap_err().code, "invalid_length");
    }
}
