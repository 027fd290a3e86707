//! The schema registry. Its schemas and ids live in the instance's PostgreSQL, so they survive restarts.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::postgres::REGISTRY_DATABASE;
use super::server::Recipe;

const TIMEOUT: Duration = Duration::from_secs(2);

/// The recipe of the registry.
pub struct Registry {
    pub port: u16,
    pub postgres_port: u16,
    pub program: PathBuf,
}

impl Recipe for Registry {
    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn prepare(&self, home: &Path) -> Result<()> {
        let file = home.join("config.yaml");
        fs::write(&file, self.config()).with_context(|| format!("writing {}", file.display()))
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg("-config").arg(home.join("config.yaml"));
        Ok(command)
    }

    fn is_ready(&self, _home: &Path) -> bool {
        get(self.port, "/health/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

impl Registry {
    fn config(&self) -> String {
        // The password is needed by the registry and ignored by PostgreSQL, which trusts this machine.
        format!(
            r#"server: {{host: "127.0.0.1", port: {port}}}
storage:
  type: postgresql
  postgresql: {{host: 127.0.0.1, port: {postgres}, database: {REGISTRY_DATABASE}, user: postgres, password: x, ssl_mode: disable}}
compatibility: {{default_level: BACKWARD}}
logging: {{level: warn}}
security: {{auth: {{enabled: false}}}}
"#,
            port = self.port,
            postgres = self.postgres_port,
        )
    }
}

/// One HTTP request, answer and all.
fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
