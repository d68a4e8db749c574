//! LOLWUT: the source of streams.

use crate::config::load::REDIS_VERSION;

/// From deep to the surface.
const SHADES: [char; 5] = [' ', '.', '-', '~', '='];

/// A river of this many columns and rows; `chance` shapes its bends.
pub fn river(chance: u64, columns: usize, rows: usize) -> String {
    let phase = |bits: u32| (chance >> bits & 0xff) as f64 / 40.0;
    let mut out = String::with_capacity((columns + 1) * (rows + 2));
    for row in 0..rows {
        for column in 0..columns {
            let along = column as f64 / 6.0;
            let bend = (along + phase(0)).sin()
                + (along / 2.3 + phase(8)).sin() / 1.5
                + (along / 5.1 + phase(16)).cos();
            let middle = (bend / 6.0 + 0.5) * rows as f64;
            let depth = 1.0 - (row as f64 + 0.5 - middle).abs() / (rows as f64 / 3.0);
            let ripple = (along * 3.0 + row as f64 * 2.0 + phase(24)).sin() / 4.0;
            let shade = ((depth + ripple) * SHADES.len() as f64).clamp(0.0, SHADES.len() as f64 - 1.0);
            out.push(SHADES[shade as usize]);
        }
        out.push('\n');
    }
    out.push_str(&format!("\nHeadwater ver. {}, as Redis ver. {REDIS_VERSION}\n", env!("CARGO_PKG_VERSION")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_river_is_as_large_as_asked_and_never_the_same() {
        let one = river(1, 40, 6);
        let lines: Vec<&str> = one.lines().collect();
        assert_eq!(lines.len(), 8);
        assert!(lines[..6].iter().all(|line| line.len() == 40));
        assert!(lines[7].contains("Redis ver. "));
        assert!(one.contains('='));
        assert_ne!(one, river(0xdead_beef, 40, 6));
        assert_eq!(one, river(1, 40, 6));
    }
}
