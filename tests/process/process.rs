//! Starts the binary, watches it, and ends it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running `lonja serve`; killed when dropped.
pub struct Process {
    child: Child,
    said: String,
    address: String,
    log: Arc<Mutex<String>>,
    logging: Option<std::thread::JoinHandle<()>>,
    _data: TempDir,
}

/// What a run of the binary left.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The binary, with nothing of our own environment.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lonja"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LONJA_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the binary to its end.
pub fn lonja(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let done = command().args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

/// Runs the binary to its end in this environment, with these arguments, separated by spaces.
pub fn lonja_in(environment: &[(&str, String)], arguments: &str) -> Run {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    lonja(&arguments.split_whitespace().collect::<Vec<_>>(), &environment)
}

/// What a running verb prints.
pub type Lines = std::io::Lines<BufReader<std::process::ChildStdout>>;

/// A verb that runs on; killed when dropped.
pub struct Follow {
    child: Child,
    pub lines: Lines,
}

/// Starts the binary with these arguments, separated by spaces, as a client of the process at `operators`.
pub fn follow(operators: &str, arguments: &str) -> Follow {
    let mut command = command();
    command.env("LONJA_OPERATORS", operators).args(arguments.split_whitespace());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Follow { child, lines }
}

impl Drop for Follow {
    fn drop(&mut self) {
        // It has ended already where it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it with these flags on any port; returns when it says that it is ready.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_in(&[], flags)
    }

    /// The same, in this environment.
    pub fn start_in(environment: &[(&str, String)], flags: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = command();
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.args(["serve", "--listen", "127.0.0.1:0", "--operators-listen", "127.0.0.1:0"]).args(flags);
        if !flags.contains(&"--data") {
            command.arg("--data").arg(data.path());
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let logging = {
            let (log, mut stderr) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()));
            std::thread::spawn(move || {
                let mut line = String::new();
                while stderr.read_line(&mut line).unwrap() > 0 {
                    log.lock().unwrap().push_str(&std::mem::take(&mut line));
                }
            })
        };
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        while !said.contains("Stop with Ctrl-C") {
            let read = stdout.read_line(&mut said).unwrap();
            assert!(read > 0, "it ended before it was ready: {said}\n{}", log.lock().unwrap());
        }
        let (_, address) = said.split_once("http://").unwrap();
        let address = address.lines().next().unwrap().to_owned();
        Self { child, said, address, log, logging: Some(logging), _data: data }
    }

    pub fn said(&self) -> &str {
        &self.said
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The operators' API.
    pub fn operators(&self) -> &str {
        let (_, rest) = self.said.split_once("operators ").unwrap();
        rest.lines().next().unwrap()
    }

    /// Sends a signal and waits for the end; its exit code.
    pub fn stop(&mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let code = self.child.wait().unwrap().code();
        self.logging.take().unwrap().join().unwrap();
        code
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where a test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An order.
pub fn order(customer: &str) -> Value {
    json!({"customer_id": customer, "currency": "EUR", "lines": [{"sku": "tea", "quantity": 2, "unit_price": 350}]})
}

/// Places it; status and body.
pub async fn place(shop: &Process, key: &str, order: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("http://{}/v1/orders", shop.address()));
    let answer = request.header("Idempotency-Key", key).json(order).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Takes whatever traces are sent to it.
pub struct Collector {
    address: String,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(take(connection, Arc::clone(&all)));
            }
        });
        Self { address, received }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans of one trace, each from its id on: in protobuf a span begins with the trace that it belongs to.
    pub fn spans_of(&self, trace: &str) -> Vec<Vec<u8>> {
        let id = (0..16).map(|at| u8::from_str_radix(&trace[2 * at..2 * at + 2], 16).unwrap());
        let mark: Vec<u8> = [0x0a, 0x10].into_iter().chain(id).collect();
        let received = self.received();
        let starts: Vec<usize> = (0..received.len()).filter(|at| received[*at..].starts_with(&mark)).collect();
        let ends = starts.iter().skip(1).copied().chain([received.len()]);
        starts.iter().zip(ends).map(|(start, end)| received[*start..end].to_vec()).collect()
    }

    pub fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

/// Reads one request after the other, each with a length, and answers it.
async fn take(mut connection: TcpStream, all: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = Vec::new();
    while connection.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
        let length: usize = length.trim().parse().unwrap();
        if bytes.len() < head + 4 + length {
            continue;
        }
        all.lock().unwrap().extend_from_slice(&bytes[head + 4..]);
        bytes.clear();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
}
