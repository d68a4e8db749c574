//! Detection of a socket whose peer has closed its side.

use std::io;
use std::task::{Context, Poll, Waker};

/// Looks once, without waiting.
pub fn is_read_closed(ready: impl Future<Output = io::Result<tokio::io::Ready>>) -> bool {
    match std::pin::pin!(ready).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}
