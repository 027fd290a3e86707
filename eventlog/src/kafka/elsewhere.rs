//! Clients whose end takes its time: a producer purges and flushes for up to half a second, a consumer closes.

use std::ops::Deref;

/// Something that is dropped on a thread of its own.
pub(super) struct DroppedElsewhere<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> DroppedElsewhere<T> {
    pub(super) fn new(client: T) -> Self {
        Self(Some(client))
    }
}

impl<T: Send + 'static> Deref for DroppedElsewhere<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only dropping takes the client out")
    }
}

impl<T: Send + 'static> Drop for DroppedElsewhere<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        if let Err(error) = std::thread::Builder::new().name("kafka-drop".into()).spawn(move || drop(client)) {
            // The client went with the closure, here and now.
            tracing::warn!(%error, "a kafka client was dropped on its user's thread");
        }
    }
}
