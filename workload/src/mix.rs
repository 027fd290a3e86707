//! A mix of commands as customers and a warehouse would send it, and what makes an answer suspicious if it is wrong:
//! repeats, twins at the same time, and keys that are used for something else.

use serde_json::{Value, json};

/// SKUs that the stock commands are spread over: few, so that they meet.
const SKUS: u64 = 20;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// `POST` or `DELETE`.
    pub method: &'static str,
    /// Its path.
    pub path: String,
    /// Its body; `Null` where it has none.
    pub body: Value,
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
}

impl Mix {
    /// `run` begins every key and every name, so that runs do not meet.
    #[must_use]
    pub fn new(run: &str, seed: u64) -> Self {
        let (orders, reservations, finished) = (Vec::new(), Vec::new(), Vec::new());
        Self { run: run.to_owned(), random: Random(seed), orders, reservations, finished }
    }

    /// The `number`-th of the run.
    pub fn choose(&mut self, number: u64) -> Sending {
        let key = format!("{}-{number}", self.run);
        match self.random.below(100) {
            0..=47 => Sending::Once(self.place(key)),
            48..=50 => Sending::Twice(self.place(key)),
            51..=60 => Sending::Once(self.cancel(key)),
            61..=70 => Sending::Once(self.receive(key)),
            71..=86 => Sending::Once(self.reserve(key)),
            87..=88 => Sending::Twice(self.reserve(key)),
            89..=93 => Sending::Once(self.release(key)),
            94..=98 => Sending::Once(self.repeat(key)),
            _ => Sending::Once(self.other_request_under_a_known_key(key)),
        }
    }

    /// Tells that `operation` was answered with yes and `body`.
    pub fn accepted(&mut self, operation: &Operation, body: &str) {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
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

    fn place(&mut self, key: String) -> Operation {
        let lines: Vec<Value> = (0..=self.random.below(4))
            .map(|_| {
                let (sku, quantity, unit_price) = (self.sku(), 1 + self.random.below(9), self.random.below(10_000));
                json!({"sku": sku, "quantity": quantity, "unit_price": unit_price})
            })
            .collect();
        let customer = format!("customer-{}", self.random.below(500));
        let body = json!({"customer_id": customer, "currency": "EUR", "lines": lines});
        Operation { key, method: "POST", path: "/v1/orders".into(), body }
    }

    fn cancel(&mut self, key: String) -> Operation {
        match self.random.of(&self.orders).cloned() {
            None => self.place(key),
            Some(id) => {
                let body = json!({"reason": format!("because of {key}")});
                Operation { key, method: "POST", path: format!("/v1/orders/{id}/cancel"), body }
            }
        }
    }

    fn receive(&mut self, key: String) -> Operation {
        let path = format!("/v1/stock/{}/receipts", self.sku());
        let body = json!({"quantity": 1 + self.random.below(30), "reference": key});
        Operation { key, method: "POST", path, body }
    }

    fn reserve(&mut self, key: String) -> Operation {
        let path = format!("/v1/stock/{}/reservations", self.sku());
        let body = json!({"reservation_id": key, "quantity": 1 + self.random.below(5)});
        Operation { key, method: "POST", path, body }
    }

    fn release(&mut self, key: String) -> Operation {
        if self.reservations.is_empty() {
            return self.reserve(key);
        }
        let index = self.random.index(self.reservations.len());
        let (sku, id) = self.reservations.swap_remove(index);
        Operation { key, method: "DELETE", path: format!("/v1/stock/{sku}/reservations/{id}"), body: Value::Null }
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
        mix.accepted(&placed, r#"{"id":"abc"}"#);
        let mut sent = (1..200).map(|number| mix.choose(number));
        assert!(
            sent.any(
                |sending| matches!(sending, Sending::Once(operation) if operation.path == "/v1/orders/abc/cancel")
            )
        );
    }
}
