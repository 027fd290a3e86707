//! MongoDB, a replica set of one: transactions and change streams want a replica set.
//!
//! There is no shell in the package, so the two commands that are needed are spoken over the wire here (OP_MSG, BSON).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::server::Recipe;

const TIMEOUT: Duration = Duration::from_secs(5);
const OP_MSG: i32 = 2013;

/// The recipe of MongoDB.
pub struct Mongo {
    pub port: u16,
    pub program: PathBuf,
}

impl Recipe for Mongo {
    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn prepare(&self, home: &Path) -> Result<()> {
        fs::create_dir_all(home.join("data")).context("creating the data directory")
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = Command::new(&self.program);
        // A quarter of the default, which is half of the machine. With 1 GiB the indexes of 12 M documents do not fit twice.
        command
            .args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", "rs0", "--wiredTigerCacheSizeGB", "3"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false", "--quiet", "--port"])
            .arg(self.port.to_string())
            .arg("--dbpath")
            .arg(home.join("data"));
        Ok(command)
    }

    fn is_ready(&self, _home: &Path) -> bool {
        self.hello().is_ok_and(|reply| contains(&reply, b"\x08isWritablePrimary\0\x01"))
    }

    /// A new server waits to be told its replica set; one that knows it names it.
    fn nudge(&self) {
        if self.hello().is_ok_and(|reply| !contains(&reply, b"\x02setName\0")) {
            let member = document(&[int("_id", 0), string("host", &format!("127.0.0.1:{}", self.port))]);
            let members = document(&[embedded(0x03, "0", &member)]);
            let set = document(&[string("_id", "rs0"), embedded(0x04, "members", &members)]);
            // If it fails, the server is not ready, we are called again, and the caller's time limit ends it.
            let _ = self.ask(&[embedded(0x03, "replSetInitiate", &set)]);
        }
    }
}

impl Mongo {
    fn hello(&self) -> Result<Vec<u8>> {
        self.ask(&[int("hello", 1)])
    }

    /// Sends one command to the database `admin` and returns the raw reply.
    fn ask(&self, command: &[Vec<u8>]) -> Result<Vec<u8>> {
        let body = document(&[command, &[string("$db", "admin")]].concat());
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        // Header (length, request id, in reply to, operation), flags, kind of the one section.
        let length = i32::try_from(16 + 4 + 1 + body.len())?;
        let mut message: Vec<u8> = [length, 1, 0, OP_MSG, 0].iter().flat_map(|number| number.to_le_bytes()).collect();
        message.push(0);
        message.extend(body);
        stream.write_all(&message)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut reply = Vec::new();
        stream.take(u64::from(u32::from_le_bytes(length)).saturating_sub(4)).read_to_end(&mut reply)?;
        Ok(reply)
    }
}

fn document(elements: &[Vec<u8>]) -> Vec<u8> {
    let body = elements.concat();
    // Length (itself and the final zero included). Our documents are tens of bytes.
    let mut bytes = (body.len() as u32 + 5).to_le_bytes().to_vec();
    bytes.extend(body);
    bytes.push(0);
    bytes
}

fn embedded(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0], value].concat()
}

fn int(name: &str, value: i32) -> Vec<u8> {
    embedded(0x10, name, &value.to_le_bytes())
}

fn string(name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u32 + 1).to_le_bytes();
    embedded(0x02, name, &[&length, value.as_bytes(), &[0]].concat())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bson_is_as_the_specification_shows_it() {
        let hello_world = b"\x16\x00\x00\x00\x02hello\x00\x06\x00\x00\x00world\x00\x00";
        assert_eq!(document(&[string("hello", "world")]), hello_world);
        assert_eq!(document(&[int("a", 1)]), b"\x0c\x00\x00\x00\x10a\x00\x01\x00\x00\x00\x00");
    }
}
