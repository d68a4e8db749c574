//! Values of settings as text: numbers with units, output limits.

use crate::config::config::{OutputLimit, OutputLimits};
use std::ops::RangeInclusive;

/// A refused value, with the text of Redis 7.2 where Redis has one.
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
    /// `700`: a file mode.
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

    /// The number as CONFIG GET prints it.
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
        if let Unit::Bytes = self
            && number < 0
        {
            return refuse(refused);
        }
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

    pub fn parse_within(self, text: &str, bounds: RangeInclusive<i64>) -> Result<i64, Refused> {
        let number = self.parse(text)?;
        if !bounds.contains(&number) {
            let (min, max) = (self.tell(*bounds.start()), self.tell(*bounds.end()));
            return refuse(format!("argument must be between {min} and {max} inclusive"));
        }
        Ok(number)
    }

    /// The accepted values, for people.
    pub fn bounds(self, min: i64, max: i64) -> String {
        match max {
            i64::MAX => format!("{} >= {}", self.word(), self.tell(min)),
            _ => format!("{} {}..{}", self.word(), self.tell(min), self.tell(max)),
        }
    }
}

pub fn tell_flag(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

pub fn parse_flag(text: &str) -> Result<bool, Refused> {
    match text.to_ascii_lowercase().as_str() {
        // Redis accepts the first of each pair; environment variables tend to have the second.
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => refuse("argument must be 'yes' or 'no'"),
    }
}

/// The index of a name in `names`.
pub fn parse_choice(names: &[&str], text: &str) -> Result<usize, Refused> {
    let place = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    place.ok_or_else(|| Refused(format!("argument(s) must be one of the following: {}", names.join(", "))))
}

pub fn parse_text(text: &str) -> Result<String, Refused> {
    if text.contains('\0') {
        return refuse("argument must not contain a NUL");
    }
    Ok(text.to_owned())
}

/// Pairs of seconds (at least 1) and changes, each separated by one blank; or nothing (Redis 7.2
/// `setConfigSaveOption`).
pub fn parse_save_points(text: &str) -> Result<String, Refused> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let numbers: Option<Vec<u32>> = text.split(' ').map(|word| word.parse().ok()).collect();
    let is_in_order =
        |numbers: &Vec<u32>| numbers.len().is_multiple_of(2) && numbers.iter().step_by(2).all(|s| *s > 0);
    match numbers.filter(is_in_order) {
        Some(numbers) => Ok(numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
        None => refuse("Invalid save parameters"),
    }
}

/// Any number of percentiles; none turns INFO latencystats off.
pub fn parse_percentiles(text: &str) -> Result<Vec<f64>, Refused> {
    let percentile = |word: &str| match word.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        Ok(_) => refuse("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"),
        Err(_) => refuse("Invalid latency-tracking-info-percentiles parameters"),
    };
    let percentiles: Vec<f64> = text.split_ascii_whitespace().map(percentile).collect::<Result<_, _>>()?;
    if percentiles.len() > PERCENTILES_MAX {
        return refuse(format!("argument must be a list of at most {PERCENTILES_MAX} numbers"));
    }
    Ok(percentiles)
}

const PERCENTILES_MAX: usize = 16;

/// Classes that `text` does not name keep their limit, as in Redis.
pub fn parse_output_limits(mut limits: OutputLimits, text: &str) -> Result<OutputLimits, Refused> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if !words.len().is_multiple_of(4) {
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

/// `auto`, or bytes.
pub fn parse_auto(text: &str) -> Result<Option<u64>, Refused> {
    if text.eq_ignore_ascii_case("auto") { Ok(None) } else { Ok(Some(Unit::Bytes.parse(text)? as u64)) }
}

pub fn show_auto(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "auto".to_owned(), |bytes| bytes.to_string())
}
