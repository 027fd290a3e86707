//! Faults of brokers: killed, stopped, frozen; one of one, and one of three.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::Row;
use super::measure::Recovered;
use super::place::Tools;
use super::servers::Servers;
use super::trial::{Judged, Scene, Trial};
use crate::load::now_ms;

/// The three brokers of a cluster.
const BROKERS: [&str; 3] = ["kafka1", "kafka2", "kafka3"];

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("F06-one", "the only broker is killed, and back after 1 s", 23.0, |tools| {
            one(tools, 10.0, &|servers| {
                let struck = now_ms();
                servers.kill("kafka")?;
                sleep(Duration::from_secs(1));
                servers.start_again("kafka")?;
                Ok(struck)
            })
        })
        .quick(),
        Row::new("F07-one", "the only broker is restarted in an orderly way", 23.0, |tools| {
            one(tools, 10.0, &|servers| {
                let struck = now_ms();
                servers.stop("kafka")?;
                servers.start_again("kafka")?;
                Ok(struck)
            })
        }),
        Row::new("F08-one", "the only broker is frozen for 30 s", 15.0, |tools| {
            one(tools, 40.0, &|servers| {
                servers.pause("kafka")?;
                sleep(Duration::from_secs(30));
                servers.resume("kafka")?;
                Ok(now_ms())
            })
        }),
        Row::new("F06-three", "of three brokers each is killed in turn, and back after 8 s", 23.0, |tools| {
            three(tools, 130.0, &|servers| {
                in_turn(|broker| {
                    servers.kill(broker)?;
                    sleep(Duration::from_secs(8));
                    servers.start_again(broker)
                })
            })
        }),
        Row::new("F07-three", "three brokers are restarted one after another", 23.0, |tools| {
            three(tools, 130.0, &|servers| {
                in_turn(|broker| {
                    servers.stop(broker)?;
                    servers.start_again(broker)
                })
            })
        }),
        Row::new(
            "F08-three",
            "of three brokers one that leads partitions is frozen for 20 s and comes back",
            23.0,
            |tools| {
                three(tools, 40.0, &|servers| {
                    let struck = now_ms();
                    servers.pause("kafka2")?;
                    sleep(Duration::from_secs(20));
                    servers.resume("kafka2")?;
                    Ok(struck)
                })
            },
        ),
    ]
}

/// Each broker leads a third of the partitions, so each strike meets some. Recovery counts from the last one.
fn in_turn(strike: impl Fn(&str) -> Result<()>) -> Result<i64> {
    let mut struck = now_ms();
    for broker in BROKERS {
        struck = now_ms();
        strike(broker)?;
        // In sync again, so that the next strike leaves two.
        sleep(Duration::from_secs(5));
    }
    Ok(struck)
}

fn one(tools: &Tools, seconds: f64, strike: &dyn Fn(&Servers) -> Result<i64>) -> Result<Judged> {
    let strike = |scene: &Scene| strike(scene.servers()?);
    Trial { own: "kafka", seconds, strike: &strike, ..Trial::default() }.run(tools)
}

fn three(tools: &Tools, seconds: f64, strike: &dyn Fn(&Servers) -> Result<i64>) -> Result<Judged> {
    let strike = |scene: &Scene| strike(scene.servers()?);
    let recovered = Recovered::EachPartition;
    Trial { own: "kafka", brokers: 3, seconds, recovered, strike: &strike, ..Trial::default() }.run(tools)
}
