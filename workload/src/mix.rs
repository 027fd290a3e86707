//! A mix of commands as customers and a warehouse would send it, and what makes an answer suspicious if it is wrong:
//! repeats, twins at the same time, and keys that are used for something else.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// SKUs that the stock commands are spread over: few, so that they meet.
const SKUS: u64 = 20;
/// So many of the latest writes are asked for by reads: fresh ones, which a view may not show yet.
const FRESH: usize = 8;
/// In a flash sale, buyers between two units that arrive.
const BUYERS_PER_UNIT: u64 = 90;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// `POST` or `DELETE`; `GET` for a read.
    pub method: &'static str,
    /// Its path.
    pub path: String,
    /// Its body; `Null` where it has none.
    pub body: Value,
    /// Of a read, the position that it must show.
    pub token: Option<String>,
}

impl Operation {
    /// A command.
    #[must_use]
    pub fn command(key: String, method: &'static str, path: String, body: Value) -> Self {
        Self { key, method, path, body, token: None }
    }
}

/// How an operation is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Sending {
    /// Until it has a definite answer.
    Once(Operation),
    /// The same from two connections at the same time.
    Twice(Operation),
}

/// Chooses what is sent next. The same seed and answers give the same choice.
pub struct Mix {
    run: String,
    random: Random,
    orders: Vec<String>,
    reservations: Vec<(String, String)>,
    finished: Vec<Operation>,
    /// Pages that show the latest writes, with the positions of these.
    written: VecDeque<(String, String)>,
    /// Units of a flash sale that are still to arrive; `None` when there is none.
    flash_units: Option<u64>,
}

impl Mix {
    /// `run` begins every key and every name, so that runs do not meet.
    #[must_use]
    pub fn new(run: &str, seed: u64) -> Self {
        let (orders, reservations, finished) = (Vec::new(), Vec::new(), Vec::new());
        let written = VecDeque::new();
        Self { run: run.to_owned(), random: Random(seed), orders, reservations, finished, written, flash_units: None }
    }

    /// Instead of the mix: many buyers of one SKU, of which `units` arrive one by one.
    #[must_use]
    pub fn flash(self, units: u64) -> Self {
        Self { flash_units: Some(units), ..self }
    }

    /// The `number`-th of the run.
    pub fn choose(&mut self, number: u64) -> Sending {
        let key = format!("{}-{number}", self.run);
        if let Some(units) = self.flash_units {
            return Sending::Once(self.sell(key, number, units));
        }
        match self.random.below(112) {
            0..=47 => Sending::Once(self.place(key)),
            48..=50 => Sending::Twice(self.place(key)),
            51..=60 => Sending::Once(self.cancel(key)),
            61..=70 => Sending::Once(self.receive(key)),
            71..=86 => Sending::Once(self.reserve(key)),
            87..=88 => Sending::Twice(self.reserve(key)),
            89..=93 => Sending::Once(self.release(key)),
            94..=98 => Sending::Once(self.repeat(key)),
            99 => Sending::Once(self.other_request_under_a_known_key(key)),
            _ => Sending::Once(self.read(key)),
        }
    }

    /// Tells that `operation` was answered with yes and `body`, and where it stands in the log.
    pub fn accepted(&mut self, operation: &Operation, body: &str, position: Option<&str>) {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let page = match (answer["id"].as_str(), answer["sku"].as_str()) {
            (Some(id), _) if self.random.below(2) == 0 => Some(format!("/v1/activity?subject=order/{id}&limit=100")),
            (Some(id), _) => Some(format!("/v1/orders/{id}")),
            (None, Some(sku)) => Some(format!("/v1/stock/{sku}")),
            (None, None) => None,
        };
        self.written.extend(page.zip(position.map(str::to_owned)));
        while self.written.len() > FRESH {
            self.written.pop_front();
        }
        if operation.path == "/v1/orders" {
            self.orders.extend(answer["id"].as_str().map(str::to_owned));
        } else if operation.path.ends_with("/reservations") {
            let names = answer["sku"].as_str().zip(answer["reservation_id"].as_str());
            self.reservations.extend(names.map(|(sku, id)| (sku.to_owned(), id.to_owned())));
        }
    }

    /// Tells that `operation` has its definite answer.
    pub fn finished(&mut self, operation: Operation) {
        self.finished.push(operation);
    }

    fn sell(&mut self, key: String, number: u64, units: u64) -> Operation {
        let sku = format!("{}-flash", self.run);
        if number.is_multiple_of(BUYERS_PER_UNIT) && number / BUYERS_PER_UNIT < units {
            let body = json!({"quantity": 1, "reference": key});
            return Operation::command(key, "POST", format!("/v1/stock/{sku}/receipts"), body);
        }
        let body = json!({"reservation_id": key, "quantity": 1});
        Operation::command(key, "POST", format!("/v1/stock/{sku}/reservations"), body)
    }

    fn read(&mut self, key: String) -> Operation {
        let index = self.random.index(self.written.len().max(1));
        match self.written.get(index).cloned() {
            None => self.place(key),
            Some((path, position)) => Operation { key, method: "GET", path, body: Value::Null, token: Some(position) },
        }
    }

    fn place(&mut self, key: String) -> Operation {
        let lines: Vec<Value> = (0..=self.random.below(4))
            .map(|_| {
                let (sku, quantity, unit_price) = (self.sku(), 1 + self.random.below(9), self.random.below(10_000));
                json!({"sku": sku, "quantity": quantity, "unit_price": unit_price})
            })
            .collect();
        let customer = format!("customer-{}", self.random.below(500));
        let body = json!({"customer_id": customer, "currency": "EUR", "lines": lines});
        Operation::command(key, "POST", "/v1/orders".into(), body)
    }

    fn cancel(&mut self, key: String) -> Operation {
        match self.random.of(&self.orders).cloned() {
            None => self.place(key),
            Some(id) => {
                let body = json!({"reason": format!("because of {key}")});
                Operation::command(key, "POST", format!("/v1/orders/{id}/cancel"), body)
            }
        }
    }

    fn receive(&mut self, key: String) -> Operation {
        let path = format!("/v1/stock/{}/receipts", self.sku());
        let body = json!({"quantity": 1 + self.random.below(30), "reference": key});
        Operation::command(key, "POST", path, body)
    }

    fn reserve(&mut self, key: String) -> Operation {
        let path = format!("/v1/stock/{}/reservations", self.sku());
        let body = json!({"reservation_id": key, "quantity": 1 + self.random.below(5)});
        Operation::command(key, "POST", path, body)
    }

    fn release(&mut self, key: String) -> Operation {
        if self.reservations.is_empty() {
            return self.reserve(key);
        }
        let index = self.random.index(self.reservations.len());
        let (sku, id) = self.reservations.swap_remove(index);
        Operation::command(key, "DELETE", format!("/v1/stock/{sku}/reservations/{id}"), Value::Null)
    }

    fn repeat(&mut self, key: String) -> Operation {
        self.random.of(&self.finished).cloned().unwrap_or_else(|| self.place(key))
    }

    fn other_request_under_a_known_key(&mut self, key: String) -> Operation {
        let known = self.random.of(&self.finished).map(|operation| operation.key.clone());
        let mut operation = self.place(known.unwrap_or(key));
        operation.body["customer_id"] = "somebody-else".into();
        operation
    }

    fn sku(&mut self) -> String {
        format!("{}-sku-{}", self.run, self.random.below(SKUS))
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): enough for choosing, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        if list.is_empty() { None } else { list.get(self.index(list.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_sends_the_same() {
        let all = |seed| {
            let mut mix = Mix::new("r", seed);
            (0..200).map(|number| mix.choose(number)).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn an_answered_order_is_cancelled_sooner_or_later() {
        let mut mix = Mix::new("r", 3);
        let placed = mix.place("r-0".into());
        mix.accepted(&placed, r#"{"id":"abc"}"#, Some("order.events/0@0"));
        let mut sent = (1..200).map(|number| mix.choose(number));
        assert!(
            sent.any(
                |sending| matches!(sending, Sending::Once(operation) if operation.path == "/v1/orders/abc/cancel")
            )
        );
    }
}
