//! A mutation fuzzer that starts from a kept corpus.
//!
//! A check returns the kind of outcome as a number. An input with a new outcome joins the mutated ones, so
//! the search gets past a parser's first test without coverage measurement, which the stable compiler lacks.
//! The seed determines every input: `HEADWATER_SEED=… cargo test --test fuzz SUBJECT` repeats a run that
//! started with the same corpus.

use crate::random::{self, Random};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A parser under test.
pub struct Subject<'a> {
    /// The name of the test and of its folder in tests/corpus.
    pub name: &'a str,
    /// Initial inputs besides those of the folder.
    pub seeds: Vec<Vec<u8>>,
    /// Building blocks of mutations besides the inputs' own bytes.
    pub tokens: &'a [&'a [u8]],
    /// Panics on a fault of the parser or of its result. Returns the kind of outcome.
    pub check: &'a dyn Fn(&[u8]) -> u64,
}

/// Inputs of a run without a given duration.
const INPUTS: usize = 3_000;

/// Longest duration of such a run.
const SHORT: Duration = Duration::from_secs(3);

const LENGTH_MAX: usize = 1_024;

/// Most inputs kept for mutation.
const POOL_MAX: usize = 8_192;

/// The time limit of one input, even on a loaded machine; quadratic work exceeds it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Subject<'_> {
    /// Runs for `HEADWATER_FUZZ_SECONDS`, or briefly.
    pub fn run(&self) {
        let mut pool = self.corpus();
        pool.extend(self.seeds.iter().cloned());
        assert!(!pool.is_empty(), "{}: nothing to begin with", self.name);
        let mut known = HashSet::new();
        for (at, input) in pool.iter().enumerate() {
            known.insert(self.look(input, &format!("corpus-{at}")));
        }
        let seed = random::seed();
        let mut random = Random::new(seed);
        let seconds = random::from_environment("HEADWATER_FUZZ_SECONDS", 0) as u64;
        let lasts = if seconds == 0 { SHORT } else { Duration::from_secs(seconds) };
        let started = Instant::now();
        let mut inputs = 0;
        eprintln!("{}: HEADWATER_SEED={seed}, {} inputs to begin with", self.name, pool.len());
        while started.elapsed() < lasts && (seconds > 0 || inputs < INPUTS) {
            inputs += 1;
            let input = self.mutant(&pool, &mut random);
            let outcome = self.look(&input, &format!("{seed}-{inputs}"));
            if known.insert(outcome) && pool.len() < POOL_MAX {
                pool.push(input);
            }
        }
        eprintln!("{}: {inputs} inputs, {} kinds of outcome", self.name, known.len());
    }

    /// The files of the subject's folder, by name.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(self.name);
        let mut paths: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a file").path())
            .collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
    }

    /// Checks an input; writes a failing one to a file.
    fn look(&self, input: &[u8], name: &str) -> u64 {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.check)(input))).unwrap_or_else(|panic| {
            self.keep(input, name);
            resume_unwind(panic)
        });
        let took = started.elapsed();
        if took > PATIENCE {
            self.keep(input, name);
            panic!("{}: an input of {} bytes took {took:?}", self.name, input.len());
        }
        outcome
    }

    fn keep(&self, input: &[u8], name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
        let path = folder.join(format!("{}-{name}", self.name));
        let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
        eprintln!(
            "{}: fails with \"{}\"\nkept as {} ({kept:?}); when it is mended it belongs into tests/corpus/{0}",
            self.name,
            input.escape_ascii(),
            path.display()
        );
    }

    fn mutant(&self, pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let mut input = random.pick(pool).clone();
        for _ in 0..=random.below(6) {
            let at = random.below(input.len() + 1);
            let len = random.below(12).min(input.len() - at);
            match random.below(10) {
                0 if at < input.len() => input[at] ^= 1 << random.below(8),
                1 if at < input.len() => input[at] = random.next() as u8,
                2 => drop(input.drain(at..at + len)),
                3 => {
                    let piece = input[at..at + len].to_vec();
                    let to = random.below(input.len() + 1);
                    input.splice(to..to, piece);
                }
                4 => {
                    // The end of another input.
                    let other = random.pick(pool);
                    input.truncate(at);
                    input.extend_from_slice(&other[random.below(other.len() + 1)..]);
                }
                5 => input.truncate(at),
                6 => {
                    let number = random.pick(NUMBERS);
                    input.splice(at..at + len, number.iter().copied());
                }
                7 if at < input.len() => input[at] = input[at].wrapping_add(1 + random.below(2) as u8 * 254),
                _ if self.tokens.is_empty() => input.insert(at, random.next() as u8),
                8 => {
                    let token = random.pick(self.tokens);
                    input.splice(at..at, token.iter().copied());
                }
                _ => {
                    let token = random.pick(self.tokens);
                    input.splice(at..at + len, token.iter().copied());
                }
            }
        }
        input.truncate(LENGTH_MAX);
        input
    }
}

const NUMBERS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1",
    b"127",
    b"255",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e400",
    b"nan",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
];

/// A kind of outcome.
pub fn outcome(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
