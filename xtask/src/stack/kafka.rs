//! Kafka brokers (KRaft: each is its own controller), one or three.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::ports::Ports;
use super::server::Recipe;
use crate::exec;

/// The same for every instance and broker: data formatted under another id could not be used again.
const CLUSTER_ID: &str = "AAAAAAAAQACAAAAAAAAAAQ";
/// A tool lives too short for the second compiler to pay. A broker does not: with the first one alone it takes a
/// third more CPU for the same orders (ARCHITECTURE.md, "Where the time of a command goes").
const FIRST_COMPILER: &str = "-XX:TieredStopAtLevel=1";
/// As Kafka's own start script has it; with a quarter of it a tenth of the broker's time goes into collecting garbage.
const HEAP: &str = "-Xmx1g";
const TIMEOUT: Duration = Duration::from_secs(2);

/// The recipe of one broker.
pub struct Kafka {
    /// Position in `ports`, from 0; the broker's id is one higher.
    pub index: usize,
    pub ports: Ports,
    /// Directory with the jars.
    pub jars: PathBuf,
}

impl Recipe for Kafka {
    fn ports(&self) -> Vec<u16> {
        vec![self.port(), self.ports.controller[self.index]]
    }

    fn prepare(&self, home: &Path) -> Result<()> {
        let file = home.join("server.properties");
        fs::write(&file, self.properties(home)).with_context(|| format!("writing {}", file.display()))?;
        if home.join("data/meta.properties").exists() {
            return Ok(());
        }
        let mut format = self.java();
        format
            .args([FIRST_COMPILER, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c"])
            .arg(file);
        exec::output(&mut format).map(drop)
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = self.java();
        command.args(["-Xms128m", HEAP, "kafka.Kafka"]).arg(home.join("server.properties"));
        Ok(command)
    }

    fn is_ready(&self, _home: &Path) -> bool {
        let id = i32::try_from(self.index + 1);
        metadata(self.port()).is_ok_and(|reply| id.is_ok_and(|id| broker_ids(&reply).unwrap_or_default().contains(&id)))
    }
}

impl Kafka {
    fn port(&self) -> u16 {
        self.ports.kafka[self.index]
    }

    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(self.jars.join("*"));
        command
    }

    fn properties(&self, home: &Path) -> String {
        let (id, port, controller) = (self.index + 1, self.port(), self.ports.controller[self.index]);
        let voters: Vec<String> = self
            .ports
            .controller
            .iter()
            .enumerate()
            .map(|(index, port)| format!("{}@127.0.0.1:{port}", index + 1))
            .collect();
        let (replicas, in_sync) = if self.ports.kafka.len() == 3 { (3, 2) } else { (1, 1) };
        format!(
            "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.network.threads=2
num.io.threads=2
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
# A dead broker is missed soon: what is tested is the service, not the broker's patience.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
",
            voters = voters.join(","),
            data = home.join("data").display(),
            advertised = self.ports.advertised.unwrap_or(port),
        )
    }
}

/// Asks for the metadata of no topic (Metadata v1), which lists the brokers that are registered and serve.
fn metadata(port: u16) -> Result<Vec<u8>> {
    const METADATA_V1: [u8; 16] = [0, 3, 0, 1, 0, 0, 0, 1, 0, 2, b'x', b't', 0, 0, 0, 0];
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&u32::try_from(METADATA_V1.len())?.to_be_bytes())?;
    stream.write_all(&METADATA_V1)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut reply = Vec::new();
    stream.take(u64::from(u32::from_be_bytes(length))).read_to_end(&mut reply)?;
    Ok(reply)
}

/// The ids in a Metadata v1 reply: correlation id, then an array of (id, host, port, rack or null). None if it is cut short.
fn broker_ids(reply: &[u8]) -> Option<Vec<i32>> {
    let mut rest = reply.get(4..)?;
    let mut take = |count: usize| -> Option<&[u8]> {
        let (head, tail) = rest.split_at_checked(count)?;
        rest = tail;
        Some(head)
    };
    let count = i32::from_be_bytes(take(4)?.try_into().ok()?);
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(i32::from_be_bytes(take(4)?.try_into().ok()?));
        for gap in [4, 0] {
            // A string, null as length -1; after the host stands the port.
            let length = i16::from_be_bytes(take(2)?.try_into().ok()?);
            take(usize::try_from(length.max(0)).ok()? + gap)?;
        }
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_ids_are_read_and_a_cut_reply_is_none() {
        let mut reply = vec![0, 0, 0, 1, 0, 0, 0, 2];
        for id in [1, 3] {
            reply.extend([0, 0, 0, id, 0, 1, b'h', 0, 0, 0x52, 0x64, 0xff, 0xff]);
        }
        assert_eq!(broker_ids(&reply), Some(vec![1, 3]));
        assert_eq!(broker_ids(&reply[..reply.len() - 1]), None);
    }

    #[test]
    fn three_brokers_replicate_and_one_does_not() {
        let text = |brokers| {
            let ports = Ports::from_base(30_000, brokers).unwrap();
            Kafka { index: 0, ports, jars: PathBuf::new() }.properties(Path::new("home"))
        };
        assert!(text(3).contains("\nmin.insync.replicas=2\n"));
        assert!(text(3).contains("voters=1@127.0.0.1:30003,2@127.0.0.1:30004,3@127.0.0.1:30005\n"));
        assert!(text(1).contains("\nmin.insync.replicas=1\n"));
    }
}
