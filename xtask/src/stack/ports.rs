//! Which port each server of an instance listens on.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

const COMMITTED: &str = include_str!("../../stack.toml");

/// Linux gives outgoing connections ports from 32768 on: a free one of those can be taken before a server listens there.
const LISTENERS: Range<u16> = 23_000..32_768;

/// How many ports an instance with three brokers takes from its base on.
const SPAN: u16 = 10;

/// The ports of one instance. Brokers have one entry each in `kafka` and in `controller`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    pub kafka: Vec<u16>,
    pub controller: Vec<u16>,
    pub registry: u16,
    pub postgres: u16,
    pub mysql: u16,
    pub mongo: u16,
    /// Where clients of the one broker are sent instead of to its own port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised: Option<u16>,
}

impl Ports {
    /// What `stack.toml` says about `instance`.
    pub fn committed(instance: &str) -> Result<Option<Self>> {
        let mut all: BTreeMap<String, Self> = toml::from_str(COMMITTED).context("reading stack.toml")?;
        Ok(all.remove(instance))
    }

    /// Consecutive ports from `base` on.
    pub fn from_base(base: u16, brokers: u16) -> Result<Self> {
        ensure!((1024..=u16::MAX - SPAN).contains(&base), "a port base lies between 1024 and {}", u16::MAX - SPAN);
        Self::from_list(&(base..base + SPAN).collect::<Vec<_>>(), brokers)
    }

    /// Ports that nobody listens on now, chosen at random. They are not reserved: another server may take one before ours
    /// does, and then our server's start says so.
    pub fn free(brokers: u16) -> Result<Self> {
        let start = u16::try_from(RandomState::new().hash_one(()) % u64::from(LISTENERS.end - LISTENERS.start))?;
        let ports = (LISTENERS.start + start..LISTENERS.end).chain(LISTENERS.start..LISTENERS.start + start);
        let ports: Vec<u16> = ports.filter(|port| is_free(*port)).take(SPAN.into()).collect();
        ensure!(ports.len() == usize::from(SPAN), "only {} ports are free in {LISTENERS:?}", ports.len());
        Self::from_list(&ports, brokers)
    }

    fn from_list(ports: &[u16], brokers: u16) -> Result<Self> {
        ensure!(brokers == 1 || brokers == 3, "one broker or three, not {brokers}");
        let brokers = usize::from(brokers);
        Ok(Self {
            kafka: ports[0..brokers].to_vec(),
            controller: ports[3..3 + brokers].to_vec(),
            registry: ports[6],
            postgres: ports[7],
            mysql: ports[8],
            mongo: ports[9],
            advertised: None,
        })
    }
}

/// Whether a server could listen on `port` now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ports: &Ports) -> Vec<u16> {
        let single = [ports.registry, ports.postgres, ports.mysql, ports.mongo];
        ports.kafka.iter().chain(&ports.controller).chain(&single).copied().collect()
    }

    #[test]
    fn no_two_servers_share_a_port() {
        let (dev, test) = (Ports::committed("dev").unwrap().unwrap(), Ports::committed("test").unwrap().unwrap());
        let base = Ports::from_base(30_000, 3).unwrap();
        let mut seen = [all(&dev), all(&test), all(&base), all(&Ports::free(3).unwrap())].concat();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn a_port_with_a_listener_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        drop(listener);
        assert!(is_free(port));
    }

    #[test]
    fn two_brokers_are_refused() {
        assert!(Ports::from_base(30_000, 2).is_err());
    }
}
