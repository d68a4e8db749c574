//! A stream whose pending entries go from hand to hand: XCLAIM, XAUTOCLAIM and reads with CLAIM. An entry
//! that has not been idle for as long as somebody asks is not his.

use super::client::Id;
use super::knowledge::{Progress, ensure};
use super::value::Value;
use std::collections::BTreeMap;

pub const LEASED: &str = "leased";

/// How an entry comes into a hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    New,
    /// After it was idle for so many milliseconds.
    Claimed(u64),
}

/// An order among everything that clients send and read, over all of them.
pub type Moment = u64;

/// An entry was given to a client, some time between its question and the reply.
#[derive(Debug, Clone, Copy)]
pub struct Hand {
    pub client: usize,
    pub how: How,
    pub sent: Moment,
    pub sent_ms: u64,
    pub answered: Moment,
    pub answered_ms: u64,
}

#[derive(Debug)]
struct Lease {
    is_new_seen: bool,
    deliveries: u64,
    hands: Vec<Hand>,
    acknowledgement: Progress,
    /// When the reply to its XACK came.
    acknowledged: Moment,
}

/// Of the group `g` of [`LEASED`].
#[derive(Default)]
pub struct Leases {
    leases: BTreeMap<Id, Lease>,
    /// Reads and claims that were never answered, by client.
    lost: BTreeMap<usize, u64>,
    pub claims: u64,
}

impl Leases {
    /// `is_exact`: idle times follow the clock of the clients.
    pub fn delivered(&mut self, id: Id, hand: Hand, is_exact: bool) -> Result<(), String> {
        let lease = self.leases.entry(id).or_insert_with(Lease::unknown);
        let is_new = hand.how == How::New;
        ensure!(!(is_new && lease.is_new_seen), "{LEASED}: {id} was delivered twice as new: {lease:?}");
        ensure!(
            lease.acknowledgement != Progress::Done || hand.sent < lease.acknowledged,
            "{LEASED}: {id} was acknowledged and was given to {hand:?}"
        );
        let may_follow = |first: &Hand, second: &Hand| match second.how {
            How::New => false,
            How::Claimed(idle_ms) => {
                let slack_ms = CLOCK_MS + second.answered_ms / CLOCK_PACE;
                second.answered_ms + slack_ms >= first.sent_ms + idle_ms
            }
        };
        let other = lease.hands.iter().find(|other| !may_follow(other, &hand) && !may_follow(&hand, other));
        if let Some(other) = other.filter(|_| is_exact) {
            return Err(format!("{LEASED}: {id} is in two hands: {other:?} and {hand:?}"));
        }
        lease.is_new_seen |= is_new;
        lease.deliveries += 1;
        lease.hands.push(hand);
        self.claims += u64::from(!is_new);
        Ok(())
    }

    pub fn never_answered(&mut self, client: usize) {
        *self.lost.entry(client).or_default() += 1;
    }

    /// An entry that a client has seen last, as far as is known.
    pub fn begin_acknowledge(&mut self, client: usize, choice: u64) -> Option<Id> {
        let is_mine = |lease: &Lease| {
            lease.acknowledgement == Progress::None
                && lease.hands.last().is_some_and(|hand| hand.client == client)
        };
        let mut mine: Vec<_> = self.leases.iter_mut().filter(|(_, lease)| is_mine(lease)).take(5).collect();
        let at = (!mine.is_empty()).then(|| choice as usize % mine.len())?;
        mine[at].1.acknowledgement = Progress::Unknown;
        Some(*mine[at].0)
    }

    pub fn acknowledged(&mut self, id: Id, moment: Moment) {
        let lease = self.leases.get_mut(&id).expect("somebody held it");
        (lease.acknowledgement, lease.acknowledged) = (Progress::Done, moment);
    }

    /// Ids that are pending, as far as is known, for XCLAIM.
    pub fn pending(&self) -> Vec<Id> {
        let pending = self.leases.iter().filter(|(_, lease)| lease.acknowledgement == Progress::None);
        pending.map(|(id, _)| *id).collect()
    }

    /// Compares the group with XINFO GROUPS and XPENDING, while nothing is under way. `ids`: of the stream.
    pub fn verify(
        &mut self,
        ids: &[Id],
        last_delivered: Id,
        rows: &Value,
        has_lost: bool,
        now: (Moment, u64),
    ) -> Result<(), String> {
        let rows: BTreeMap<Id, Row> = rows.elements().iter().map(Row::parse).collect();
        if has_lost {
            // Everything may be as it was before: what is pending is in one hand, and the rest was
            // acknowledged.
            self.leases.clear();
        } else {
            self.compare(ids, last_delivered, &rows)?;
        }
        for id in ids.iter().filter(|id| **id <= last_delivered) {
            let lease = self.leases.entry(*id).or_insert_with(Lease::unknown);
            lease.is_new_seen = true;
            match rows.get(id) {
                Some(row) => {
                    lease.acknowledgement = Progress::None;
                    lease.deliveries = row.deliveries;
                    lease.hands = vec![row.hand(now)];
                }
                None => lease.acknowledgement = Progress::Done,
            }
        }
        self.lost.clear();
        Ok(())
    }

    fn compare(&self, ids: &[Id], last_delivered: Id, rows: &BTreeMap<Id, Row>) -> Result<(), String> {
        let lost: u64 = self.lost.values().sum();
        for (id, lease) in &self.leases {
            ensure!(
                *id <= last_delivered,
                "{LEASED}: {id} was delivered, behind {last_delivered}: {lease:?}"
            );
            ensure!(lease.is_new_seen || lost > 0, "{LEASED}: {id} was claimed, never delivered: {lease:?}");
            match (rows.get(id), lease.acknowledgement) {
                (Some(_), Progress::Done) => {
                    return Err(format!("{LEASED}: {id} was acknowledged and is pending: {lease:?}"));
                }
                (None, Progress::None) => {
                    return Err(format!("{LEASED}: pending entry {id} is lost: {lease:?}"));
                }
                (Some(row), _) => {
                    ensure!(
                        (lease.deliveries..=lease.deliveries + lost).contains(&row.deliveries),
                        "{LEASED}: {id} was delivered {} times: {lease:?}",
                        row.deliveries
                    );
                    ensure!(
                        lease.may_be_of(row.owner) || self.lost.contains_key(&row.owner),
                        "{LEASED}: {id} is pending for {}: {lease:?}",
                        row.owner
                    );
                }
                (None, _) => {}
            }
        }
        for id in ids.iter().filter(|id| **id <= last_delivered && !self.leases.contains_key(id)) {
            let owner = rows.get(id).map(|row| row.owner);
            ensure!(
                owner.is_some_and(|owner| self.lost.contains_key(&owner)),
                "{LEASED}: {id} was delivered, and nobody has got it: {owner:?}"
            );
        }
        Ok(())
    }
}

/// A difference between the clocks' milliseconds that proves nothing.
const CLOCK_MS: u64 = 1;

/// Log time that has fallen behind real time for a while makes up for it: one part in so many.
const CLOCK_PACE: u64 = 4096;

impl Lease {
    fn unknown() -> Lease {
        Lease {
            is_new_seen: false,
            deliveries: 0,
            hands: Vec::new(),
            acknowledgement: Progress::None,
            acknowledged: 0,
        }
    }

    /// Whether this client may be the last that got it: nobody has asked after it was answered.
    fn may_be_of(&self, client: usize) -> bool {
        let is_last = |hand: &Hand| !self.hands.iter().any(|other| other.sent > hand.answered);
        self.hands.iter().any(|hand| hand.client == client && is_last(hand))
    }
}

/// Of XPENDING.
struct Row {
    owner: usize,
    idle_ms: u64,
    deliveries: u64,
}

impl Row {
    fn parse(row: &Value) -> (Id, Row) {
        let parts = row.elements();
        let owner = parts[1].text().trim_start_matches('c').parse().expect("a client's name");
        let number = |at: usize| parts[at].integer() as u64;
        (Id::parse(&parts[0].text()), Row { owner, idle_ms: number(2), deliveries: number(3) })
    }

    fn hand(&self, (now, now_ms): (Moment, u64)) -> Hand {
        let delivered_ms = now_ms.saturating_sub(self.idle_ms);
        Hand {
            client: self.owner,
            how: How::New,
            sent: now,
            sent_ms: delivered_ms,
            answered: now,
            answered_ms: delivered_ms,
        }
    }
}
