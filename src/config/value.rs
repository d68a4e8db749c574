//! Values of settings as text: numbers with units, limits of output.

use crate::config::config::{OutputLimit, OutputLimits};

/// A value that was refused: Redis 7.2's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

pub fn refuse<T>(text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(text.into()))
}

#[derive(Clone, Copy)]
pub enum Unit {
    Plain,
    /// `64mb`, `1gb`, `1k` (1000) …
    Bytes,
    /// `100`, `100ms`, `5s`.
    Milliseconds,
    /// `700`: a file's mode.
    Octal,
}

impl Unit {
    pub fn word(self) -> &'static str {
        match self {
            Unit::Plain => "number",
            Unit::Bytes => "bytes",
            Unit::Milliseconds => "milliseconds",
            Unit::Octal => "octal",
        }
    }

    /// As CONFIG GET tells it.
    pub fn tell(self, number: i64) -> String {
        match self {
            Unit::Octal => format!("{number:o}"),
            _ => number.to_string(),
        }
    }

    pub fn parse(self, text: &str) -> Result<i64, Refused> {
        if let Unit::Octal = self {
            return i64::from_str_radix(text, 8)
                .map_err(|_| Refused("argument couldn't be parsed as an octal number".into()));
        }
        let refused = match self {
            Unit::Bytes => "argument must be a memory value",
            _ => "argument couldn't be parsed into an integer",
        };
        let digits = text.trim_start_matches('-').bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits + usize::from(text.starts_with('-')).min(text.len()));
        let number: i64 = number.parse().map_err(|_| Refused(refused.into()))?;
        let factor = match (self, suffix.to_ascii_lowercase().as_str()) {
            (_, "") | (Unit::Bytes, "b") | (Unit::Milliseconds, "ms") => 1,
            (Unit::Bytes, "k") | (Unit::Milliseconds, "s") => 1000,
            (Unit::Bytes, "kb") => 1 << 10,
            (Unit::Bytes, "m") => 1_000_000,
            (Unit::Bytes, "mb") => 1 << 20,
            (Unit::Bytes, "g") => 1_000_000_000,
            (Unit::Bytes, "gb") => 1 << 30,
            _ => return refuse(refused),
        };
        number.checked_mul(factor).ok_or_else(|| Refused(refused.into()))
    }
}

/// Any number of them; none turns INFO latencystats off.
pub fn parse_percentiles(text: &str) -> Result<Vec<f64>, Refused> {
    let percentile = |word: &str| match word.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => refuse("argument must be a list of numbers between 0.0 and 100.0"),
    };
    let percentiles: Vec<f64> = text.split_ascii_whitespace().map(percentile).collect::<Result<_, _>>()?;
    if percentiles.len() > PERCENTILES_MAX {
        return refuse(format!("argument must be a list of at most {PERCENTILES_MAX} numbers"));
    }
    Ok(percentiles)
}

const PERCENTILES_MAX: usize = 16;

/// Classes that are not named keep their limit, as in Redis.
pub fn parse_output_limits(mut limits: OutputLimits, text: &str) -> Result<OutputLimits, Refused> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return refuse("Wrong number of arguments in buffer limit configuration.");
    }
    for class in words.chunks_exact(4) {
        let limit = match class[0].to_ascii_lowercase().as_str() {
            "normal" => &mut limits.normal,
            "slave" | "replica" => &mut limits.replica,
            "pubsub" => &mut limits.pubsub,
            _ => return refuse("Invalid client class specified in buffer limit configuration."),
        };
        let number = |unit: Unit, text: &str| match unit.parse(text) {
            Ok(number @ 0..) => Ok(number as u64),
            _ => refuse("Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        };
        *limit = OutputLimit {
            hard_bytes: number(Unit::Bytes, class[1])?,
            soft_bytes: number(Unit::Bytes, class[2])?,
            soft_seconds: number(Unit::Plain, class[3])?,
        };
    }
    Ok(limits)
}
