//! The API on a log, and somebody who asks it.

use std::sync::Arc;

use eventlog::EventLog;
use lonja_operators::log::Surveys;
use lonja_operators::{Audit, Operators};
use projections::{Lags, Progress, Stores, Views};
use schemas::Codec;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running API.
pub struct Desk {
    runtime: Runtime,
    address: String,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

impl Desk {
    pub fn on(log: &Arc<dyn EventLog>) -> Self {
        Self::with(log, Surveys::default())
    }

    pub fn with(log: &Arc<dyn EventLog>, surveys: Surveys) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let operators = Operators {
            log: Arc::clone(log),
            codec: Arc::new(Codec::local()),
            views: Views::among(&Stores::default()),
            progress: Progress::default(),
            lags: Lags::default(),
            owners: Box::new(|| Box::pin(async { Err("a test has no owners".to_owned()) })),
            surveys,
            audit: Audit::new(Arc::clone(log)),
        };
        let served = runtime.spawn(lonja_operators::serve(listener, operators, stop.clone()));
        Self { runtime, address, stop, served }
    }

    /// Status and body.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.runtime.block_on(async {
            let answer = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
            (answer.status().as_u16(), answer.json().await.unwrap())
        })
    }

    /// A good answer.
    #[track_caller]
    pub fn good(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Ends it; then nobody holds the log any more.
    pub fn close(self, log: &Arc<dyn EventLog>) {
        self.stop.cancel();
        self.runtime.block_on(self.served).unwrap().unwrap();
        assert_eq!(Arc::strong_count(log), 1, "somebody still holds the log");
    }
}
