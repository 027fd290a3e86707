//! Events and commands of stock items.

use bytes::Bytes;
use domain::ids::{DeliveredQuantity, Quantity, ReservationId, Sku, Text};
use domain::stock::{StockCommand, StockEvent, StockItem};
use serde::{Deserialize, Serialize};

use super::{COMMAND, number, outside};
use crate::codec::{Codec, CodecError};
use crate::contract::{Contract, Encoded};
use crate::topics::{self, RESERVATION_RELEASED, STOCK_RECEIVED, STOCK_RESERVED, Topic};

#[derive(Serialize, Deserialize)]
struct StockReceived {
    sku: String,
    quantity: i32,
    reference: String,
    on_hand_after: i64,
    available_after: i64,
}

#[derive(Serialize, Deserialize)]
struct StockReserved {
    sku: String,
    reservation_id: String,
    quantity: i32,
    available_after: i64,
}

#[derive(Serialize, Deserialize)]
struct ReservationReleased {
    sku: String,
    reservation_id: String,
    quantity: i32,
    available_after: i64,
}

#[derive(Serialize, Deserialize)]
enum Command {
    ReceiveStock { sku: String, quantity: u32, reference: String },
    ReserveStock { sku: String, reservation_id: String, quantity: u32 },
    ReleaseReservation { sku: String, reservation_id: String },
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

    fn encode_command(command: &StockCommand) -> Result<Bytes, CodecError> {
        super::json(&match command {
            StockCommand::ReceiveStock { sku, quantity, reference } => Command::ReceiveStock {
                sku: sku.to_string(),
                quantity: quantity.get(),
                reference: reference.as_str().to_owned(),
            },
            StockCommand::ReserveStock { sku, reservation_id, quantity } => Command::ReserveStock {
                sku: sku.to_string(),
                reservation_id: reservation_id.to_string(),
                quantity: quantity.get(),
            },
            StockCommand::ReleaseReservation { sku, reservation_id } => {
                Command::ReleaseReservation { sku: sku.to_string(), reservation_id: reservation_id.to_string() }
            }
        })
    }

    fn decode_command(json: &[u8]) -> Result<StockCommand, CodecError> {
        let odd = outside(COMMAND);
        let sku = |text: &str| Sku::parse(text).map_err(&odd);
        let reservation_id = |text: &str| ReservationId::parse(text).map_err(&odd);
        Ok(match serde_json::from_slice(json)? {
            Command::ReceiveStock { sku: key, quantity, reference } => StockCommand::ReceiveStock {
                sku: sku(&key)?,
                quantity: DeliveredQuantity::new(quantity.into()).map_err(&odd)?,
                reference: Text::parse(&reference).map_err(&odd)?,
            },
            Command::ReserveStock { sku: key, reservation_id: id, quantity } => StockCommand::ReserveStock {
                sku: sku(&key)?,
                reservation_id: reservation_id(&id)?,
                quantity: Quantity::new(quantity.into()).map_err(&odd)?,
            },
            Command::ReleaseReservation { sku: key, reservation_id: id } => {
                StockCommand::ReleaseReservation { sku: sku(&key)?, reservation_id: reservation_id(&id)? }
            }
        })
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
                let wire = StockReserved {
                    sku: sku.to_string(),
                    reservation_id: reservation_id.to_string(),
                    quantity: number(STOCK_RESERVED.name, quantity.get())?,
                    available_after: number(STOCK_RESERVED.name, *available_after)?,
                };
                let payload = codec.encode(Self::TOPIC, &STOCK_RESERVED, &wire)?;
                Ok(Encoded { record_type: &STOCK_RESERVED, payload })
            }
            StockEvent::ReservationReleased { sku, reservation_id, quantity, available_after } => {
                let wire = ReservationReleased {
                    sku: sku.to_string(),
                    reservation_id: reservation_id.to_string(),
                    quantity: number(RESERVATION_RELEASED.name, quantity.get())?,
                    available_after: number(RESERVATION_RELEASED.name, *available_after)?,
                };
                let payload = codec.encode(Self::TOPIC, &RESERVATION_RELEASED, &wire)?;
                Ok(Encoded { record_type: &RESERVATION_RELEASED, payload })
            }
        }
    }

    fn decode(codec: &Codec, record_type: &str, payload: &[u8]) -> Result<StockEvent, CodecError> {
        if record_type == STOCK_RECEIVED.name {
            received(codec.decode(&STOCK_RECEIVED, payload)?)
        } else if record_type == STOCK_RESERVED.name {
            reserved(codec.decode(&STOCK_RESERVED, payload)?)
        } else if record_type == RESERVATION_RELEASED.name {
            released(codec.decode(&RESERVATION_RELEASED, payload)?)
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

fn reserved(wire: StockReserved) -> Result<StockEvent, CodecError> {
    let odd = outside(STOCK_RESERVED.name);
    Ok(StockEvent::StockReserved {
        sku: Sku::parse(&wire.sku).map_err(&odd)?,
        reservation_id: ReservationId::parse(&wire.reservation_id).map_err(&odd)?,
        quantity: Quantity::new(number(STOCK_RESERVED.name, wire.quantity)?).map_err(&odd)?,
        available_after: number(STOCK_RESERVED.name, wire.available_after)?,
    })
}

fn released(wire: ReservationReleased) -> Result<StockEvent, CodecError> {
    let odd = outside(RESERVATION_RELEASED.name);
    Ok(StockEvent::ReservationReleased {
        sku: Sku::parse(&wire.sku).map_err(&odd)?,
        reservation_id: ReservationId::parse(&wire.reservation_id).map_err(&odd)?,
        quantity: Quantity::new(number(RESERVATION_RELEASED.name, wire.quantity)?).map_err(&odd)?,
        available_after: number(RESERVATION_RELEASED.name, wire.available_after)?,
    })
}
