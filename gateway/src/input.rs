//! From well-formed JSON to values of the domain: every rule that is broken is told, not only the first.

use domain::ids::InvalidValue;

use crate::problem::{INVALID_REQUEST, InputError, Problem};

/// Most errors that are told at once.
const ERRORS_MAX: usize = 100;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Input {
    errors: Vec<InputError>,
}

impl Input {
    /// The value, or notes what is wrong with it. `pointer` is a JSON Pointer, made only when it is needed.
    pub fn take<T>(&mut self, pointer: impl FnOnce() -> String, parsed: Result<T, InvalidValue>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(invalid) => {
                if self.errors.len() < ERRORS_MAX {
                    self.errors.push(InputError::new(pointer(), invalid));
                }
                None
            }
        }
    }

    /// `value`, which is there when nothing was noted.
    ///
    /// # Errors
    /// `invalid_request` with all that was noted.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => {
                let count = self.errors.len();
                let detail = if count == 1 {
                    "a value is not allowed".to_owned()
                } else {
                    format!("{count} values are not allowed")
                };
                Err(Problem::input(&INVALID_REQUEST, detail, self.errors))
            }
        }
    }
}

/// A count as JSON has it: negative numbers break the rule of the range, not that of the type.
///
/// # Errors
/// `out_of_range`.
pub fn count<T>(number: i64, accept: impl FnOnce(u64) -> Result<T, InvalidValue>) -> Result<T, InvalidValue> {
    // Nothing accepts zero units, so a negative number gets the words of its own range.
    accept(u64::try_from(number).unwrap_or(0))
}
