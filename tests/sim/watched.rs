//! A value that all clients raise by one with WATCH, GET and EXEC, and a stream to which the same transaction
//! adds the value: no step is lost, and none is made twice.

use super::knowledge::ensure;
use super::value::Value;
use std::collections::BTreeSet;

pub const VALUE: &str = "{w}value";
pub const STEPS: &str = "{w}steps";

#[derive(Default)]
pub struct Watched {
    /// Values that an EXEC has set, for certain.
    executed: BTreeSet<u64>,
    /// The greatest that an EXEC may have set.
    sent: u64,
}

impl Watched {
    /// What a GET that is sent now must find, at least.
    pub fn least(&self) -> u64 {
        self.executed.last().copied().unwrap_or_default()
    }

    /// The value that a GET has found.
    pub fn found(&self, reply: &Value, least: u64) -> Result<u64, String> {
        let found = if reply.is_null() { 0 } else { reply.integer() as u64 };
        ensure!(found >= least, "{VALUE} is {found}, and it was {least} before");
        ensure!(found <= self.sent, "{VALUE} is {found}, which nobody has set");
        Ok(found)
    }

    pub fn begin(&mut self, value: u64) {
        self.sent = self.sent.max(value);
    }

    /// Returns whether the transaction was executed.
    pub fn executed(&mut self, value: u64, reply: &Value) -> Result<bool, String> {
        if reply.is_null() {
            return Ok(false);
        }
        let parts = reply.elements();
        ensure!(parts.len() == 2 && parts.iter().all(|it| !it.is_error()), "EXEC: {reply}");
        ensure!(self.executed.insert(value), "two clients have raised {VALUE} to {value}");
        Ok(true)
    }

    /// Compares with GET and XRANGE.
    pub fn verify(&mut self, value: &Value, steps: &Value, has_lost: bool) -> Result<(), String> {
        let least = if has_lost { 0 } else { self.least() };
        let found = self.found(value, least)?;
        let step = |entry: &Value| entry.elements()[1].elements()[1].integer() as u64;
        let steps: Vec<u64> = steps.elements().iter().map(step).collect();
        let is_whole = steps.iter().copied().eq(1..=found);
        ensure!(is_whole, "{VALUE} is {found}, and the steps to it are {steps:?}");
        self.executed = (1..=found).collect();
        self.sent = found;
        Ok(())
    }
}
