use super::*;
use proptest::prelude::*;

/// Produces `left` bytes that count up from `at`, in steps of about `step`.
struct Counting {
    at: usize,
    left: usize,
    step: usize,
    /// Reports the end together with the last bytes, or afterwards.
    ends_early: bool,
}

impl Produce for Counting {
    fn produce(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        let len = self.left.min(self.step).min(limit);
        out.extend(counting(self.at, len));
        (self.at, self.left) = (self.at + len, self.left - len);
        self.left > 0 || (len > 0 && !self.ends_early)
    }

    fn held_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

fn counting(at: usize, len: usize) -> impl Iterator<Item = u8> {
    (at..at + len).map(|at| (at % 251) as u8)
}

/// The next bytes, at most `bytes_max` in at most `slices_max` slices.
fn next(rope: &mut Rope, bytes_max: usize, slices_max: usize) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(b""); slices_max];
    let used = rope.as_slices(&mut slices);
    let mut bytes = slices[..used].iter().map(|slice| &slice[..]).collect::<Vec<_>>().concat();
    bytes.truncate(bytes_max);
    bytes
}

fn drain(rope: &mut Rope) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let bytes = next(rope, usize::MAX, 4);
        if bytes.is_empty() {
            return all;
        }
        rope.advance(bytes.len());
        all.extend(bytes);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Small(usize),
    Shared(usize),
    Lazy { len: usize, step: usize, ends_early: bool },
    Append(Vec<Step>),
    Send { bytes_max: usize, slices_max: usize },
}

fn lens() -> impl Strategy<Value = usize> {
    prop_oneof![0..20_usize, 0..3000_usize, SHARED_BYTES_MIN - 1..SHARED_BYTES_MIN + 2, Just(100_000_usize)]
}

fn writes() -> impl Strategy<Value = Step> {
    prop_oneof![
        lens().prop_map(Step::Small),
        lens().prop_map(Step::Shared),
        (lens(), 1..50_000_usize, any::<bool>()).prop_map(|(len, step, ends_early)| Step::Lazy {
            len,
            step: step.max(len / 64),
            ends_early
        }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => writes(),
        1 => proptest::collection::vec(writes(), 0..4).prop_map(Step::Append),
        3 => (lens(), 1..5_usize).prop_map(|(bytes_max, slices_max)| Step::Send { bytes_max, slices_max }),
    ]
}

/// Writes the step's bytes, which count up from `at`, and returns their number.
fn write(rope: &mut Rope, at: usize, step: &Step) -> usize {
    match *step {
        Step::Small(len) => {
            rope.tail().extend(counting(at, len));
            len
        }
        Step::Shared(len) => {
            rope.push_shared(&counting(at, len).collect());
            len
        }
        Step::Lazy { len, step, ends_early } => {
            rope.push_lazy(Box::new(Counting { at, left: len, step, ends_early }));
            len
        }
        Step::Append(ref steps) => {
            let mut other = Rope::default();
            let mut len = 0;
            for step in steps {
                len += write(&mut other, at + len, step);
            }
            rope.append(other);
            len
        }
        Step::Send { .. } => unreachable!("it writes nothing"),
    }
}

proptest! {
    /// A rope sends the same bytes as a plain buffer, for any pieces and any sizes of sends.
    #[test]
    fn a_rope_sends_what_was_written(steps in proptest::collection::vec(steps(), 0..40)) {
        let mut rope = Rope::default();
        let (mut written, mut sent) = (0, 0);
        let has_lazy = |step: &Step| match step {
            Step::Append(steps) => steps.iter().any(|step| matches!(step, Step::Lazy { .. })),
            step => matches!(step, Step::Lazy { .. }),
        };
        let is_known = !steps.iter().any(has_lazy);
        for step in &steps {
            if let Step::Send { bytes_max, slices_max } = *step {
                let bytes = next(&mut rope, bytes_max, slices_max);
                prop_assert!(bytes.iter().copied().eq(counting(sent, bytes.len())));
                prop_assert!(bytes_max == 0 || !bytes.is_empty() || sent == written);
                rope.advance(bytes.len());
                sent += bytes.len();
            } else {
                written += write(&mut rope, written, step);
            }
            prop_assert!(rope.len() <= written - sent);
            if is_known {
                prop_assert_eq!(rope.len(), written - sent);
                prop_assert_eq!(rope.is_empty(), sent == written);
            }
        }
        prop_assert!(drain(&mut rope).into_iter().eq(counting(sent, written - sent)));
        prop_assert!(rope.is_empty());
        prop_assert_eq!(rope.len(), 0);
        prop_assert!(rope.memory() <= KEPT_BYTES, "{}", rope.memory());
    }
}

#[test]
fn small_writes_stay_in_one_buffer() {
    let mut rope = Rope::default();
    (0..1000).for_each(|_| rope.push_shared(&Bytes::from_static(b"+OK\r\n")));
    assert!(rope.pieces.is_none());
    let mut other = Rope::default();
    other.extend_from_slice(b"x");
    rope.append(other);
    assert!(rope.pieces.is_none());
    assert_eq!(rope.len(), 5001);
}

#[test]
fn a_large_value_is_referenced() {
    let value = Bytes::from(vec![b'x'; SHARED_BYTES_MIN]);
    let mut rope = Rope::default();
    rope.extend_from_slice(b"$8192\r\n");
    rope.push_shared(&value);
    rope.extend_from_slice(b"\r\n");
    let mut slices = [IoSlice::new(b""); 4];
    assert_eq!(rope.as_slices(&mut slices), 3);
    assert_eq!(slices[1].as_ptr(), value.as_ptr());
}

#[test]
fn the_last_holder_of_a_shared_buffer_accounts_for_it() {
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    let mut ropes: Vec<_> = (0..3).map(|_| Rope::default()).collect();
    ropes.iter_mut().for_each(|rope| rope.push_shared(&value));
    drop(value);
    assert!(ropes.iter().all(|rope| rope.len() == 1 << 20 && rope.memory() < 1024));
    ropes.truncate(1);
    assert!(ropes[0].memory() >= 1 << 20);
}

#[test]
fn a_lazy_piece_is_asked_when_the_bytes_before_it_are_sent() {
    let mut rope = Rope::default();
    rope.extend_from_slice(b"ab");
    rope.push_lazy(Box::new(Counting { at: 0, left: 200_000, step: usize::MAX, ends_early: true }));
    rope.extend_from_slice(b"z");
    assert_eq!(next(&mut rope, 9, 4), b"ab");
    rope.advance(1);
    assert_eq!((next(&mut rope, 9, 4), rope.len()), (b"b".to_vec(), 2));
    rope.advance(1);
    assert_eq!(rope.len(), 1, "nothing was produced before its turn");
    assert_eq!(next(&mut rope, usize::MAX, 4).len(), PRODUCED_BYTES);
    assert_eq!(next(&mut rope, usize::MAX, 4).len(), PRODUCED_BYTES, "nothing more until that is sent");
    rope.advance(PRODUCED_BYTES - 1);
    assert_eq!(next(&mut rope, usize::MAX, 4).len(), 1);
    let rest = drain(&mut rope);
    assert_eq!((rest.len(), rest.last()), (200_000 - PRODUCED_BYTES + 1 + 1, Some(&b'z')));
}

#[test]
fn a_lazy_piece_without_bytes_is_passed_over() {
    let mut rope = Rope::default();
    rope.push_lazy(Box::new(Counting { at: 0, left: 0, step: 1, ends_early: true }));
    assert!(!rope.is_empty());
    assert!(next(&mut rope, 9, 4).is_empty());
    assert!(rope.is_empty());
    rope.push_lazy(Box::new(Counting { at: 0, left: 0, step: 1, ends_early: true }));
    rope.extend_from_slice(b"z");
    assert_eq!(drain(&mut rope), b"z");
}

#[test]
fn what_was_sent_is_forgotten_in_steps() {
    let mut rope = Rope::default();
    rope.tail().resize(3 * KEPT_BYTES, b'x');
    rope.advance(2 * KEPT_BYTES);
    assert_eq!((rope.tail.len(), rope.sent), (KEPT_BYTES, 0));
    rope.advance(KEPT_BYTES);
    assert!(rope.is_empty() && rope.memory() <= KEPT_BYTES);
}

#[test]
#[should_panic(expected = "more was sent than there was")]
fn more_than_there_is_cannot_be_sent() {
    let mut rope = Rope::default();
    rope.push_shared(&Bytes::from(vec![b'x'; SHARED_BYTES_MIN]));
    rope.advance(SHARED_BYTES_MIN + 1);
}

/// Prints nanoseconds per write of the most important replies, to a plain buffer and to a rope, and the cost
/// of a frame that is copied to 1,000 outputs or shared by them. Meaningful only with optimization:
/// `CARGO_PROFILE_TEST_OPT_LEVEL=3 cargo test --lib rope -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_small_writes() {
    use crate::model::entry_id::EntryId;
    use crate::model::reply::Reply;
    use crate::resp::writer::{self, Protocol};
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    const ROUNDS: usize = 20_000;
    const BATCH: usize = 64;
    let per_write = |time: Duration| time.as_nanos() as f64 / (ROUNDS * BATCH) as f64;
    for (name, reply) in [
        ("+OK", Reply::OK),
        ("integer", Reply::Integer(123_456)),
        ("id", Reply::Id(EntryId::new(1_700_000_000_000, 3))),
        ("bulk of 100 bytes", Reply::bulk([b'x'; 100])),
    ] {
        let (mut plain_best, mut rope_best) = (f64::MAX, f64::MAX);
        for _ in 0..10 {
            let begun = Instant::now();
            let mut plain = Vec::new();
            for _ in 0..ROUNDS {
                for _ in 0..BATCH {
                    writer::write(black_box(&mut plain), Protocol::Resp2, black_box(&reply));
                }
                plain.clear();
            }
            plain_best = plain_best.min(per_write(begun.elapsed()));
            let begun = Instant::now();
            let mut rope = Rope::default();
            for _ in 0..ROUNDS {
                for _ in 0..BATCH {
                    writer::write(black_box(&mut rope), Protocol::Resp2, black_box(&reply));
                }
                rope.advance(rope.len());
            }
            rope_best = rope_best.min(per_write(begun.elapsed()));
        }
        println!("{name}: Vec {plain_best:.1} ns, rope {rope_best:.1} ns");
    }
    for len in [100, 1024, 4096, 16 * 1024, 64 * 1024] {
        let frame = Bytes::from(vec![b'x'; len]);
        let mut ropes: Vec<_> = (0..1000).map(|_| Rope::default()).collect();
        let mut best = [f64::MAX; 2];
        for _ in 0..10 {
            for (way, best) in best.iter_mut().enumerate() {
                let begun = Instant::now();
                for rope in &mut ropes {
                    match way {
                        0 => rope.extend_from_slice(&frame),
                        _ => rope.push(Piece::Shared(frame.clone())),
                    }
                }
                for rope in &mut ropes {
                    rope.advance(black_box(rope.len()));
                }
                *best = best.min(begun.elapsed().as_nanos() as f64 / ropes.len() as f64);
            }
        }
        println!("frame of {len} bytes: copied {:.0} ns, shared {:.0} ns", best[0], best[1]);
    }
}
