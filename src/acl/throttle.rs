//! Throttles failed logins by address: slows down password guessing and nothing else (docs/reliability.md
//! A9).
//!
//! An address has a number of free failures. Each further failure delays its next login, twice as long as
//! before, up to `login-backoff-max`. A login during the delay is refused without a check, so it reveals
//! nothing about the password. Nothing blocks: the event loop and other connections of the address continue.
//! After a quiet period the address starts afresh.
//!
//! Clients of this machine are spared unless a setting says otherwise: a proxy in front makes all clients come from
//! there, so that one guesser would put off everybody, and so would the tests of a program on its developer's
//! machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// Addresses remembered; the one with the oldest failure is dropped first.
const ADDRESSES_MAX: usize = 10_000;

/// The first delay.
const BACKOFF_MIN_MS: u64 = 100;

/// Milliseconds without a failure after which an address starts afresh (or twice the longest back-off, if
/// that is longer).
const FORGOTTEN_AFTER_MS: u64 = 60_000;

/// The settings of the throttle.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `login-failures-free`; 0: the throttle is off.
    pub failures_free: u32,
    /// `login-backoff-max`
    pub backoff_max_ms: u64,
    /// `login-backoff-loopback`: clients of this machine are throttled too.
    pub with_loopback: bool,
}

impl Limits {
    /// Whether failures of this address have no consequences.
    fn spare(&self, address: Option<IpAddr>) -> bool {
        let is_local = address.is_none_or(|address| address.to_canonical().is_loopback());
        self.failures_free == 0 || (is_local && !self.with_loopback)
    }
}

/// The unit of counting: an IPv4 address, the /64 of an IPv6 address (a host owns all of it), or all clients
/// without an address (Unix sockets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Origin(Option<IpAddr>);

impl Origin {
    fn of(address: Option<IpAddr>) -> Origin {
        Origin(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                const NETWORK: u128 = !0 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK))
            }
        }))
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last_ms: u64,
    /// Logins before this time are refused.
    not_before_ms: u64,
}

/// Addresses with recent failures. Times are milliseconds of a monotonic clock.
#[derive(Debug, Default)]
pub struct Throttle {
    by_origin: BTreeMap<Origin, Failures>,
    by_time: BTreeSet<(u64, Origin)>,
}

impl Throttle {
    /// `Ok` if a login may be tried now; otherwise the milliseconds to wait.
    pub fn check(&self, address: Option<IpAddr>, now_ms: u64, limits: Limits) -> Result<(), u64> {
        if limits.spare(address) {
            return Ok(());
        }
        match self.by_origin.get(&Origin::of(address)) {
            Some(failures) if failures.not_before_ms > now_ms => {
                // A lowered limit applies at once.
                let wait_ms = (failures.not_before_ms - now_ms).min(limits.backoff_max_ms);
                if wait_ms == 0 { Ok(()) } else { Err(wait_ms) }
            }
            _ => Ok(()),
        }
    }

    /// Records a failed login.
    pub fn note_failure(&mut self, address: Option<IpAddr>, now_ms: u64, limits: Limits) {
        if limits.spare(address) {
            return;
        }
        self.forget(now_ms.saturating_sub(FORGOTTEN_AFTER_MS.max(2 * limits.backoff_max_ms)));
        let origin = Origin::of(address);
        let before = self.by_origin.remove(&origin);
        let count = before.map_or(1, |before| before.count.saturating_add(1));
        if let Some(before) = before {
            self.by_time.remove(&(before.last_ms, origin));
        }
        let backoff_ms = match count.saturating_sub(limits.failures_free) {
            0 => 0,
            // Beyond 32 doublings the delay exceeds any limit.
            over => BACKOFF_MIN_MS.saturating_mul(1 << (over - 1).min(32)).min(limits.backoff_max_ms),
        };
        let failures = Failures { count, last_ms: now_ms, not_before_ms: now_ms.saturating_add(backoff_ms) };
        self.by_origin.insert(origin, failures);
        self.by_time.insert((now_ms, origin));
        if self.by_origin.len() > ADDRESSES_MAX
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.by_origin.remove(&oldest);
        }
        assert_eq!(self.by_origin.len(), self.by_time.len(), "each address is listed once by its time");
    }

    /// Drops addresses without a failure since `since_ms`.
    fn forget(&mut self, since_ms: u64) {
        while let Some((last_ms, origin)) = self.by_time.first().copied()
            && last_ms < since_ms
        {
            self.by_time.pop_first();
            self.by_origin.remove(&origin);
        }
    }

    /// Number of addresses remembered.
    pub fn len(&self) -> usize {
        self.by_origin.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { failures_free: 3, backoff_max_ms: 5000, with_loopback: true };

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_failure_beyond_the_free_ones_doubles_the_wait() {
        let mut throttle = Throttle::default();
        let ann = address("192.0.2.1");
        let mut now = 1000;
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(throttle.check(ann, now, LIMITS), Ok(()));
            throttle.note_failure(ann, now, LIMITS);
            let wait = throttle.check(ann, now, LIMITS).err().unwrap_or(0);
            if wait > 0 {
                assert_eq!(throttle.check(ann, now + wait - 1, LIMITS), Err(1));
            }
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        // After a quiet minute the address starts afresh.
        now += FORGOTTEN_AFTER_MS + 1;
        throttle.note_failure(ann, now, LIMITS);
        assert_eq!(throttle.check(ann, now, LIMITS), Ok(()));
    }

    #[test]
    fn a_guesser_gets_few_tries_and_others_are_not_touched() {
        let mut throttle = Throttle::default();
        let (guesser, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut tried = 0;
        // One try every 10 ms for an hour.
        for now in (0..3_600_000).step_by(10) {
            if throttle.check(guesser, now, LIMITS).is_ok() {
                tried += 1;
                throttle.note_failure(guesser, now, LIMITS);
            }
            assert_eq!(throttle.check(other, now, LIMITS), Ok(()));
            assert_eq!(throttle.check(None, now, LIMITS), Ok(()));
        }
        assert!((700..740).contains(&tried), "{tried}");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut throttle = Throttle::default();
        for number in 0..30_000u32 {
            let address = Some(IpAddr::V4(number.into()));
            for _ in 0..5 {
                throttle.note_failure(address, u64::from(number), LIMITS);
            }
        }
        assert_eq!(throttle.len(), ADDRESSES_MAX);
        let now = 29_999;
        assert!(throttle.check(Some(IpAddr::V4(29_999.into())), now, LIMITS).is_err());
        assert!(throttle.check(Some(IpAddr::V4(0.into())), now, LIMITS).is_ok());
        // After enough time everything is forgotten.
        throttle.note_failure(None, now + FORGOTTEN_AFTER_MS + 1, LIMITS);
        assert_eq!(throttle.len(), 1);
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let mut throttle = Throttle::default();
        for last in ["1", "2", "3", "4"] {
            throttle.note_failure(address(&format!("2001:db8::{last}")), 0, LIMITS);
        }
        assert!(throttle.check(address("2001:db8::ffff"), 0, LIMITS).is_err());
        assert!(throttle.check(address("2001:db8:0:1::1"), 0, LIMITS).is_ok());
        for _ in 0..4 {
            throttle.note_failure(address("192.0.2.1"), 0, LIMITS);
        }
        assert!(throttle.check(address("::ffff:192.0.2.1"), 0, LIMITS).is_err());
    }

    #[test]
    fn this_machine_is_spared_by_default() {
        let mut throttle = Throttle::default();
        let limits = Limits { with_loopback: false, ..LIMITS };
        for from in
            [None, address("127.0.0.1"), address("127.9.9.9"), address("::1"), address("::ffff:127.0.0.1")]
        {
            for _ in 0..100 {
                throttle.note_failure(from, 0, limits);
            }
            assert_eq!(throttle.check(from, 0, limits), Ok(()), "{from:?}");
        }
        assert!(throttle.is_empty());
        for _ in 0..4 {
            throttle.note_failure(address("192.0.2.1"), 0, limits);
        }
        assert!(throttle.check(address("192.0.2.1"), 0, limits).is_err());
    }

    #[test]
    fn it_can_be_turned_off_and_down() {
        let mut throttle = Throttle::default();
        let off = Limits { failures_free: 0, ..LIMITS };
        for _ in 0..100 {
            throttle.note_failure(None, 0, off);
        }
        assert!(throttle.is_empty());
        for _ in 0..20 {
            throttle.note_failure(None, 0, LIMITS);
        }
        assert_eq!(throttle.check(None, 0, LIMITS), Err(5000));
        assert_eq!(throttle.check(None, 0, Limits { backoff_max_ms: 10, ..LIMITS }), Err(10));
        assert_eq!(throttle.check(None, 0, off), Ok(()));
    }
}
