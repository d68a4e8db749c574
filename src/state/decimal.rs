//! Exact addition of decimal numbers in text form, for INCRBYFLOAT.
//!
//! Redis adds in `long double` and prints 17 decimal places (`%.17Lf`, trailing zeros removed). Rust's binary
//! floats have 53 bits and would show 10.5 + 0.1 as 10.59999999999999964, so the sum is computed in decimal,
//! to the same 17 places.

/// Decimal places that are printed.
const PLACES: i64 = 17;

/// A number in units of 10^-17. 38 digits: integer parts below 10^20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal(i128);

/// The reason why a sum does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSum {
    /// A text is not a number (`strtold` of the whole text).
    NotAFloat,
    /// The result is NaN or infinite.
    NotFinite,
}

/// Adds two numbers in text form; prints the sum as Redis does.
pub fn add(a: &[u8], b: &[u8]) -> Result<String, NoSum> {
    let (exact_a, exact_b) = (parse(a), parse(b));
    let (float_a, float_b) = (float(a).ok_or(NoSum::NotAFloat)?, float(b).ok_or(NoSum::NotAFloat)?);
    if let (Some(Decimal(a)), Some(Decimal(b))) = (exact_a, exact_b) {
        // Each summand is below 10^37 units, so the sum stays in range.
        return Ok(print(Decimal(a + b)));
    }
    let sum = float_a + float_b;
    if !sum.is_finite() {
        return Err(NoSum::NotFinite);
    }
    Ok(trim_zeros(format!("{sum:.17}")))
}

/// Parses the texts that clients send as `strtold` would.
fn float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// `None` if `text` is no number, or too long for this form.
fn parse(text: &[u8]) -> Option<Decimal> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let exponent_at = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match exponent_at {
        None => (text, 0),
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i64>().ok()?),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let places = mantissa.len().saturating_sub(point + 1) as i64;
    let mut units: i128 = 0;
    let mut any = false;
    for byte in mantissa.iter().enumerate().filter(|(at, _)| *at != point).map(|(_, byte)| byte) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        any = true;
        units = units.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    if !any {
        return None;
    }
    let mut shift = PLACES.checked_sub(places)?.checked_add(exponent)?;
    while shift > 0 && units != 0 {
        units = units.checked_mul(10)?;
        shift -= 1;
    }
    let mut dropped = 0;
    while shift < 0 && (units != 0 || dropped != 0) {
        dropped = units % 10;
        units /= 10;
        shift += 1;
    }
    if dropped >= 5 {
        units += 1;
    }
    (units < 10i128.pow(37)).then_some(Decimal(if negative { -units } else { units }))
}

fn print(Decimal(units): Decimal) -> String {
    let one = 10u128.pow(PLACES as u32);
    let magnitude = units.unsigned_abs();
    let sign = if units < 0 { "-" } else { "" };
    trim_zeros(format!("{sign}{}.{:017}", magnitude / one, magnitude % one))
}

fn trim_zeros(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    let trimmed = text.trim_end_matches('0').trim_end_matches('.');
    if trimmed == "-0" { "0".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_printed_as_redis_prints_them() {
        // From the manual page of INCRBYFLOAT and from Redis's own tests.
        for (a, b, sum) in [
            ("10.50", "0.1", "10.6"),
            ("10.6", "-5", "5.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("1.5", "1.5", "3"),
            ("0", "-1.1", "-1.1"),
            ("1", "0.00000000000000001", "1.00000000000000001"),
            ("1e-30", "0", "0"),
            ("17179869184", "1.5", "17179869185.5"),
            (".5", "1.", "1.5"),
        ] {
            assert_eq!(add(a.as_bytes(), b.as_bytes()).as_deref(), Ok(sum), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", " 1", "1 ", "abc", "1e", "--1", "nan", "."] {
            assert_eq!(add(text.as_bytes(), b"1"), Err(NoSum::NotAFloat), "{text}");
        }
        assert_eq!(add(b"1e308", b"1.7e308"), Err(NoSum::NotFinite));
        assert_eq!(add(b"1", b"inf"), Err(NoSum::NotFinite));
        assert!(add(b"1e200", b"1e999999999").is_err());
    }
}
