//! A histogram of call durations with two significant digits and Redis's buckets (`hdr_histogram` from 1 ns
//! to 1 s), so that derived figures agree with Redis.

/// Values below this have a bucket each; above, each doubling has half as many buckets.
const LINEAR: u64 = 256;
const HALF: usize = LINEAR as usize / 2;

/// Longer calls are counted as this long (Redis `LATENCY_HISTOGRAM_MAX_VALUE`).
const NANOSECONDS_MAX: u64 = 1_000_000_000;

const BUCKETS: usize = bucket(NANOSECONDS_MAX) + 1;

/// The first bound of [`Histogram::cumulative`]; each next bound doubles it (Redis `fillCommandCDF`).
const FIRST_BOUND: u64 = 1024;

/// Counts of durations in nanoseconds: 24 KiB.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: Box::new([0; BUCKETS]), total: 0 }
    }
}

impl Histogram {
    #[inline]
    pub fn note(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds.clamp(1, NANOSECONDS_MAX))] += 1;
        self.total += 1;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// Microseconds within which `percent` of the calls finished, to two digits; 0 without calls.
    pub fn percentile(&self, percent: f64) -> f64 {
        let wanted = ((percent.min(100.0) / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0.0, |bucket| greatest(bucket) as f64 / 1000.0)
    }

    /// Pairs of microseconds and the number of calls that took no longer, one pair per doubling that adds
    /// calls.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut pairs = Vec::new();
        let (mut next, mut seen, mut bound) = (0, 0, FIRST_BOUND);
        while seen < self.total {
            let end = bucket(bound).min(BUCKETS - 1);
            let more: u64 = self.counts[next..=end].iter().sum();
            seen += more;
            if more > 0 {
                pairs.push((greatest(bucket(bound)) / 1000, seen));
            }
            next = end + 1;
            bound *= 2;
        }
        pairs
    }
}

/// The bucket of a value.
const fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(LINEAR.trailing_zeros());
    shift as usize * HALF + (value >> shift) as usize
}

/// The greatest value in a bucket.
const fn greatest(bucket: usize) -> u64 {
    if bucket < LINEAR as usize {
        return bucket as u64;
    }
    let shift = bucket / HALF - 1;
    (((bucket - shift * HALF + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_those_of_redis() {
        let mut histogram = Histogram::default();
        for doubling in 0..20 {
            histogram.note((FIRST_BOUND << doubling) - 1);
        }
        let bounds: Vec<u64> = histogram.cumulative().iter().map(|(bound, _)| *bound).collect();
        let redis = [
            1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16909, 33818, 67637, 135274,
            270548, 541097,
        ];
        for (ours, redis) in bounds.iter().zip(redis) {
            // Redis's documentation rounds the last digits.
            assert!(ours.abs_diff(redis) <= redis / 1000, "{ours} {redis}");
        }
        assert_eq!(bounds[18..], [270_532, 541_065], "measured on Redis 7.0.15");
    }

    #[test]
    fn counts_grow_with_the_bounds() {
        let mut histogram = Histogram::default();
        for nanoseconds in [0, 900, 150_000_000, 200_000_000, 300_000_000, 5_000_000_000] {
            histogram.note(nanoseconds);
        }
        assert_eq!(histogram.cumulative(), [(1, 2), (270_532, 4), (541_065, 5), (1_082_130, 6)]);
        assert_eq!(histogram.total(), 6);
    }

    #[test]
    fn percentiles_are_of_two_digits() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50.0), 0.0);
        for microseconds in 1..=1000 {
            histogram.note(microseconds * 1000);
        }
        for (percent, expected) in [(50.0, 501.759), (99.0, 991.231), (99.9, 999.423), (100.0, 1003.519)] {
            assert_eq!(histogram.percentile(percent), expected, "{percent}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_differs_by_less_than_a_hundredth(value in 1..=NANOSECONDS_MAX) {
            let most = greatest(bucket(value));
            prop_assert!(bucket(value) < BUCKETS && most >= value && (most - value) as f64 <= value as f64 / 100.0);
            prop_assert_eq!(bucket(most), bucket(value));
            prop_assert_eq!(bucket(most + 1), bucket(value) + 1);
        }
    }
}
