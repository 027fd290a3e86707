use std::convert::Infallible;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{Operators, routes};

/// What handlers share.
#[derive(Clone)]
pub struct Shared(Arc<Held>);

/// Fields are dropped in their order: when `held` is gone, so is all that stands before it.
struct Held {
    operators: Operators,
    _held: oneshot::Sender<Infallible>,
}

impl Deref for Shared {
    type Target = Operators;

    fn deref(&self) -> &Operators {
        &self.0.operators
    }
}

/// Serves the API on `listener` until `stop`; requests in flight end first. When it returns, nobody holds `operators` any
/// more: an embedded log can be opened again.
///
/// # Errors
/// When the operating system refuses.
pub async fn serve(listener: TcpListener, operators: Operators, stop: CancellationToken) -> io::Result<()> {
    let (held, released) = oneshot::channel();
    let app = routes::routes(Shared(Arc::new(Held { operators, _held: held })));
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
    // Work on another thread goes on for a moment when its caller has hung up.
    let _ = released.await;
    served
}
