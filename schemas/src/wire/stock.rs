//! Events of stock items.

use domain::ids::{DeliveredQuantity, Quantity, ReservationId, Sku, Text};
use domain::stock::{StockCommand, StockEvent, StockItem};
use serde::{Deserialize, Serialize};

use super::{number, outside};
use crate::codec::{Codec, CodecError};
use crate::contract::{Contract, Encoded};
use crate::topics::{self, RESERVATION_RELEASED, RecordType, STOCK_RECEIVED, STOCK_RESERVED, Topic};

#[derive(Serialize, Deserialize)]
struct StockReceived {
    sku: String,
    quantity: i32,
    reference: String,
    on_hand_after: i64,
    available_after: i64,
}

/// `StockReserved` and `ReservationReleased` have the same fields.
#[derive(Serialize, Deserialize)]
struct Hold {
    sku: String,
    reservation_id: String,
    quantity: i32,
    available_after: i64,
}

impl Contract for StockItem {
    const TOPIC: &'static Topic = &topics::STOCK;
    const STATE_VERSION: u32 = 1;

    fn command_name(command: &StockCommand) -> &'static str {
        match command {
            StockCommand::ReceiveStock { .. } => "ReceiveStock",
            StockCommand::ReserveStock { .. } => "ReserveStock",
            StockCommand::ReleaseReservation { .. } => "ReleaseReservation",
        }
    }

    fn encode(codec: &Codec, event: &StockEvent) -> Result<Encoded, CodecError> {
        match event {
            StockEvent::StockReceived { sku, quantity, reference, on_hand_after, available_after } => {
                let wire = StockReceived {
                    sku: sku.to_string(),
                    quantity: number(STOCK_RECEIVED.name, quantity.get())?,
                    reference: reference.as_str().to_owned(),
                    on_hand_after: number(STOCK_RECEIVED.name, *on_hand_after)?,
                    available_after: number(STOCK_RECEIVED.name, *available_after)?,
                };
                let payload = codec.encode(Self::TOPIC, &STOCK_RECEIVED, &wire)?;
                Ok(Encoded { record_type: &STOCK_RECEIVED, payload })
            }
            StockEvent::StockReserved { sku, reservation_id, quantity, available_after } => {
                encode_hold(codec, &STOCK_RESERVED, sku, reservation_id, *quantity, *available_after)
            }
            StockEvent::ReservationReleased { sku, reservation_id, quantity, available_after } => {
                encode_hold(codec, &RESERVATION_RELEASED, sku, reservation_id, *quantity, *available_after)
            }
        }
    }

    fn decode(codec: &Codec, record_type: &str, payload: &[u8]) -> Result<StockEvent, CodecError> {
        if record_type == STOCK_RECEIVED.name {
            received(codec.decode(&STOCK_RECEIVED, payload)?)
        } else if record_type == STOCK_RESERVED.name {
            let (sku, reservation_id, quantity, available_after) = decode_hold(codec, &STOCK_RESERVED, payload)?;
            Ok(StockEvent::StockReserved { sku, reservation_id, quantity, available_after })
        } else if record_type == RESERVATION_RELEASED.name {
            let (sku, reservation_id, quantity, available_after) =
                decode_hold(codec, &RESERVATION_RELEASED, payload)?;
            Ok(StockEvent::ReservationReleased { sku, reservation_id, quantity, available_after })
        } else {
            Err(CodecError::UnknownType(record_type.to_owned()))
        }
    }
}

fn received(wire: StockReceived) -> Result<StockEvent, CodecError> {
    let odd = outside(STOCK_RECEIVED.name);
    Ok(StockEvent::StockReceived {
        sku: Sku::parse(&wire.sku).map_err(&odd)?,
        quantity: DeliveredQuantity::new(number(STOCK_RECEIVED.name, wire.quantity)?).map_err(&odd)?,
        reference: Text::parse(&wire.reference).map_err(&odd)?,
        on_hand_after: number(STOCK_RECEIVED.name, wire.on_hand_after)?,
        available_after: number(STOCK_RECEIVED.name, wire.available_after)?,
    })
}

fn encode_hold(
    codec: &Codec,
    record_type: &'static RecordType,
    sku: &Sku,
    reservation_id: &ReservationId,
    quantity: Quantity,
    available_after: u64,
) -> Result<Encoded, CodecError> {
    let wire = Hold {
        sku: sku.to_string(),
        reservation_id: reservation_id.to_string(),
        quantity: number(record_type.name, quantity.get())?,
        available_after: number(record_type.name, available_after)?,
    };
    Ok(Encoded { record_type, payload: codec.encode(&topics::STOCK, record_type, &wire)? })
}

fn decode_hold(
    codec: &Codec,
    record_type: &'static RecordType,
    payload: &[u8],
) -> Result<(Sku, ReservationId, Quantity, u64), CodecError> {
    let wire: Hold = codec.decode(record_type, payload)?;
    let odd = outside(record_type.name);
    Ok((
        Sku::parse(&wire.sku).map_err(&odd)?,
        ReservationId::parse(&wire.reservation_id).map_err(&odd)?,
        Quantity::new(number(record_type.name, wire.quantity)?).map_err(&odd)?,
        number(record_type.name, wire.available_after)?,
    ))
}
