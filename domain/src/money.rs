//! Money in minor units: never a float, never a wrap.

pub use iso_currency::Currency;
use serde::{Deserialize, Serialize};

use crate::ids::InvalidValue;

/// An amount in the minor units of its currency (cents for EUR, yen for JPY).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217 currency, kept as its code.
    #[serde(with = "code")]
    pub currency: Currency,
}

impl Money {
    /// Nothing, in `currency`.
    #[must_use]
    pub fn zero(currency: Currency) -> Self {
        Self { amount: 0, currency }
    }

    /// The sum, or `None` when it does not fit or the currencies differ.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        Some(Self { amount: self.amount.checked_add(other.amount)?, ..self })
    }

    /// This amount `units` times, or `None` when it does not fit.
    #[must_use]
    pub fn checked_mul(self, units: u32) -> Option<Self> {
        Some(Self { amount: self.amount.checked_mul(i64::from(units))?, ..self })
    }
}

/// The currency with the upper-case ISO 4217 `code`.
///
/// # Errors
/// `unknown_currency` when there is none.
pub fn parse_currency(code: &str) -> Result<Currency, InvalidValue> {
    Currency::from_code(code).ok_or_else(|| InvalidValue {
        code: "unknown_currency",
        detail: "a currency is an upper-case ISO 4217 code such as EUR".into(),
    })
}

mod code {
    use iso_currency::Currency;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(currency: &Currency, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(currency.code())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Currency, D::Error> {
        let code = String::deserialize(from)?;
        Currency::from_code(&code).ok_or_else(|| D::Error::custom("unknown currency"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_none_and_never_a_wrap() {
        let most = Money { amount: i64::MAX, currency: Currency::EUR };
        let one = Money { amount: 1, currency: Currency::EUR };
        assert_eq!(most.checked_add(one), None);
        assert_eq!(most.checked_mul(2), None);
        assert_eq!(one.checked_mul(9_999).map(|m| m.amount), Some(9_999));
    }

    #[test]
    fn currencies_do_not_mix() {
        assert_eq!(Money::zero(Currency::EUR).checked_add(Money::zero(Currency::USD)), None);
    }

    #[test]
    fn a_currency_is_an_upper_case_code() {
        assert!(parse_currency("EUR").is_ok());
        for bad in ["eur", "EURO", "", "QQQ"] {
            assert_eq!(parse_currency(bad).unwrap_err().code, "unknown_currency", "{bad:?}");
        }
    }
}
