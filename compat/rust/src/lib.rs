//! What the Rust programs share: named checks, one line of output per check.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

pub fn port() -> u16 {
    std::env::var("PORT").ok().and_then(|port| port.parse().ok()).expect("PORT is the port of the server")
}

pub async fn check(name: &str, run: impl Future<Output = Outcome>) {
    match tokio::time::timeout(Duration::from_secs(20), run).await {
        Ok(Ok(())) => println!("ok {name}"),
        Ok(Err(error)) => println!("not ok {name}: {}", error.to_string().replace('\n', " ")),
        Err(_) => println!("not ok {name}: no end after 20 s"),
    }
}

pub fn same<T: PartialEq + Debug>(actual: T, expected: T) -> Outcome {
    if actual == expected { Ok(()) } else { Err(format!("got {actual:?}, expected {expected:?}").into()) }
}

pub fn holds(condition: bool, what: &str) -> Outcome {
    if condition { Ok(()) } else { Err(what.into()) }
}

/// Waits until the condition holds; five seconds at most.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) -> Outcome {
    let end = Instant::now() + Duration::from_secs(5);
    while !condition().await {
        holds(Instant::now() < end, &format!("never came: {what}"))?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
