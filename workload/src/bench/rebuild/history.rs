//! The history that is replayed: real baskets, repeated with new ids until there are enough events. Each basket is an order
//! and the delivery of one of its products.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result};
use domain::Timestamp;
use domain::ids::{CustomerId, DeliveredQuantity, OrderId, Quantity, Sku, Text};
use domain::money::Currency;
use domain::order::{Line, Lines, Order, OrderEvent, UnitPrice};
use domain::stock::{StockEvent, StockItem};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::Contract;
use schemas::topics::{ORDER, STOCK};

use crate::baskets::{Basket, BasketLine};
use crate::bench::fill::{FIRST_MS, Owner};
use crate::order_body::order_id;
use crate::stack::Stack;

/// Units on hand of a SKU, and how often it was delivered.
type Standing = HashMap<u64, (u64, u64)>;

/// Appends about so many events to the topics of `stack`, half of them orders.
pub fn fill(stack: &Stack, baskets: &[Basket], events: u64) -> Result<()> {
    let mut orders = Owner::on_kafka(stack, &ORDER)?;
    let mut stock = Owner::on_kafka(stack, &STOCK)?;
    let (started, bar) = (Instant::now(), ProgressBar::new(events));
    bar.set_style(
        ProgressStyle::with_template("filling {bar:30} {pos}/{len} {per_sec} {eta}").context("progress bar")?,
    );
    let mut standing = Standing::new();
    for (number, basket) in (0..events / 2).zip(baskets.iter().cycle()) {
        let at = Timestamp(FIRST_MS + i64::try_from(number)?);
        let id = order_id(number);
        let placed = Order::encode(orders.codec(), &order(basket, id, at)?)?;
        orders.append(id.to_string(), &placed, 2 * number, 1)?;
        let (sku, event, version) = delivery(basket, number, &mut standing)?;
        let delivered = StockItem::encode(stock.codec(), &event)?;
        stock.append(sku, &delivered, 2 * number + 1, version)?;
        bar.inc(2);
    }
    orders.finish()?;
    stock.finish()?;
    bar.finish_and_clear();
    println!("appended {} events in {:.0} s", events / 2 * 2, started.elapsed().as_secs_f64());
    Ok(())
}

fn sku(product: u64) -> Result<Sku> {
    Ok(Sku::parse(&format!("product-{product}"))?)
}

fn order(basket: &Basket, id: uuid::Uuid, placed_at: Timestamp) -> Result<OrderEvent> {
    let line = |line: &BasketLine| {
        Ok(Line {
            sku: sku(line.product)?,
            quantity: Quantity::new(line.quantity.into())?,
            unit_price: UnitPrice::new(line.unit_price)?,
        })
    };
    let lines = Lines::new(basket.lines.iter().map(line).collect::<Result<_>>()?)?;
    let total = lines.total(Currency::USD).context("the total does not fit")?;
    let customer_id = CustomerId::parse(&format!("household-{}", basket.household))?;
    Ok(OrderEvent::OrderPlaced { order_id: OrderId(id), customer_id, lines, total, placed_at })
}

/// One product of the basket is delivered, a different one each time that the basket comes.
fn delivery(basket: &Basket, number: u64, standing: &mut Standing) -> Result<(String, StockEvent, u64)> {
    let at = usize::try_from(number)? % basket.lines.len();
    let line = basket.lines.get(at).context("a basket without lines")?;
    let (on_hand, version) = standing.entry(line.product).or_default();
    *on_hand += u64::from(line.quantity);
    *version += 1;
    let name = sku(line.product)?;
    let event = StockEvent::StockReceived {
        sku: name.clone(),
        quantity: DeliveredQuantity::new(line.quantity.into())?,
        reference: Text::parse(&format!("delivery {number}"))?,
        on_hand_after: *on_hand,
        available_after: *on_hand,
    };
    Ok((name.as_str().to_owned(), event, *version))
}
