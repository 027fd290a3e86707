//! Properties of every aggregate, over generated histories of commands.

use std::fmt::Debug;

use lonja_domain::decider::{Decider, Timestamp};
use lonja_domain::ids::{CustomerId, DeliveredQuantity, OrderId, Quantity, ReservationId, Sku, Text};
use lonja_domain::money::Currency;
use lonja_domain::order::{Line, Lines, Order, OrderCommand, OrderEvent, UnitPrice};
use lonja_domain::stock::{StockCommand, StockEvent, StockItem};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

/// Decides every command in turn; after each, `check` sees the state, and the same command must yield no second event.
fn run<D>(commands: &[D::Command], check: impl Fn(&D)) -> Vec<D::Event>
where
    D: Decider + Clone + PartialEq + Debug,
    D::Event: Debug + Clone,
{
    let mut state = D::default();
    let mut history = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        let now = Timestamp(i64::try_from(at).unwrap());
        if let Ok(Some(event)) = state.decide(command, now) {
            state = state.evolve(&event);
            let again = state.decide(command, now);
            assert!(!matches!(again, Ok(Some(_))), "a repeated command gave {again:?}");
            history.push(event);
        }
        check(&state);
    }
    let split = history.len() / 2;
    let half = history[..split].iter().fold(D::default(), D::evolve);
    assert_eq!(history[split..].iter().fold(half, D::evolve), state, "a split fold differs from the whole fold");
    history
}

fn order_command() -> impl Strategy<Value = OrderCommand> {
    let price = prop_oneof![0..100_000_i64, Just(i64::MAX)];
    let line = ("[a-c]", 1..=u64::from(Quantity::MAX), price).prop_map(|(sku, quantity, price)| Line {
        sku: Sku::parse(&sku).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        unit_price: UnitPrice::new(price).unwrap(),
    });
    let place = ("[a-b]", vec(line, 1..4)).prop_map(|(customer, lines)| OrderCommand::PlaceOrder {
        order_id: OrderId(Uuid::nil()),
        customer_id: CustomerId::parse(&customer).unwrap(),
        currency: Currency::EUR,
        lines: Lines::new(lines).unwrap(),
    });
    let cancel = "[a-b]".prop_map(|reason| OrderCommand::CancelOrder {
        order_id: OrderId(Uuid::nil()),
        reason: Text::parse(&reason).unwrap(),
    });
    prop_oneof![3 => place, 1 => cancel]
}

fn stock_command() -> impl Strategy<Value = StockCommand> {
    let sku = || Sku::parse("tea").unwrap();
    let reservation = || (0..8_u8).prop_map(|n| ReservationId::parse(&format!("r{n}")).unwrap());
    prop_oneof![
        (1..30_u64, 0..6_u8).prop_map(move |(quantity, delivery)| StockCommand::ReceiveStock {
            sku: sku(),
            quantity: DeliveredQuantity::new(quantity).unwrap(),
            reference: Text::parse(&format!("d{delivery}")).unwrap(),
        }),
        (reservation(), 1..20_u64).prop_map(move |(reservation_id, quantity)| StockCommand::ReserveStock {
            sku: sku(),
            reservation_id,
            quantity: Quantity::new(quantity).unwrap(),
        }),
        reservation().prop_map(move |reservation_id| StockCommand::ReleaseReservation { sku: sku(), reservation_id }),
    ]
}

/// Any event whatever, also one that no decision would give in the state that it meets.
fn stock_event() -> impl Strategy<Value = StockEvent> {
    let sku = || Sku::parse("tea").unwrap();
    let reservation = || (0..4_u8).prop_map(|n| ReservationId::parse(&format!("r{n}")).unwrap());
    let quantity = || (1..=u64::from(Quantity::MAX)).prop_map(|units| Quantity::new(units).unwrap());
    prop_oneof![
        (1..100_u64, any::<u64>(), any::<u64>()).prop_map(move |(quantity, on_hand_after, available_after)| {
            StockEvent::StockReceived {
                sku: sku(),
                quantity: DeliveredQuantity::new(quantity).unwrap(),
                reference: Text::parse("d").unwrap(),
                on_hand_after,
                available_after,
            }
        }),
        (reservation(), quantity(), any::<u64>()).prop_map(move |(reservation_id, quantity, available_after)| {
            StockEvent::StockReserved { sku: sku(), reservation_id, quantity, available_after }
        }),
        (reservation(), quantity(), any::<u64>()).prop_map(move |(reservation_id, quantity, available_after)| {
            StockEvent::ReservationReleased { sku: sku(), reservation_id, quantity, available_after }
        }),
    ]
}

proptest! {
    #[test]
    fn an_order_is_placed_and_cancelled_at_most_once_and_adds_up(commands in vec(order_command(), 0..12)) {
        let history = run::<Order>(&commands, |_| {});
        prop_assert!(history.len() <= 2);
        for event in &history {
            if let OrderEvent::OrderPlaced { lines, total, .. } = event {
                let sum: i128 = lines.as_slice().iter()
                    .map(|line| i128::from(line.quantity.get()) * i128::from(line.unit_price.get())).sum();
                prop_assert_eq!(sum, i128::from(total.amount));
            }
        }
    }

    #[test]
    fn stock_is_never_oversold(commands in vec(stock_command(), 0..200)) {
        let history = run::<StockItem>(&commands, |stock| assert!(stock.reserved() <= stock.on_hand()));
        let (mut received, mut held) = (0_i64, 0_i64);
        for event in &history {
            match event {
                StockEvent::StockReceived { quantity, .. } => received += i64::from(quantity.get()),
                StockEvent::StockReserved { quantity, .. } => held += i64::from(quantity.get()),
                StockEvent::ReservationReleased { quantity, .. } => held -= i64::from(quantity.get()),
            }
            prop_assert!(0 <= held && held <= received, "held {} of {}", held, received);
        }
    }

    #[test]
    fn evolve_takes_any_event_in_any_state(events in vec(stock_event(), 0..50)) {
        let state = events.iter().fold(StockItem::default(), StockItem::evolve);
        prop_assert!(state.available() <= state.on_hand());
    }
}
