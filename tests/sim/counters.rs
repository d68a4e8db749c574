//! What a run of the simulation has done.

use std::fmt;

macro_rules! counters {
    ($($field:ident: $words:literal,)*) => {
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Counters {
            pub simulated_ms: u64,
            $(pub $field: u64,)*
        }

        impl Counters {
            pub fn add(&mut self, other: &Counters) {
                self.simulated_ms += other.simulated_ms;
                $(self.$field += other.$field;)*
            }

            /// A run in which some fault never came proves less than it says.
            pub fn assert_everything_happened(&self) {
                $(assert!(self.$field > 0, "no {}", $words);)*
            }
        }

        impl fmt::Display for Counters {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:.2} simulated hours", self.simulated_ms as f64 / 3_600_000.0)?;
                $(write!(f, ", {} {}", self.$field, $words)?;)*
                Ok(())
            }
        }
    };
}

counters! {
    seeds: "seeds",
    commands: "commands",
    entries: "acknowledged entries",
    blocked: "reads that were blocked and served",
    claims: "claims",
    raised: "transactions behind WATCH",
    messages: "messages heard",
    starts: "starts",
    kills: "kills",
    kills_after_faults: "kills after a fault of the disk",
    power_cuts: "power cuts",
    stops: "orderly stops",
    failed_syncs: "failed syncs",
    full_disks: "full disks",
    shortages: "times without much space",
    short_starts: "starts without much space",
    refusals: "requests refused for want of space",
    deaths_at_renames: "deaths at a rename",
    deaths_at_removals: "deaths at a removal",
    deaths_at_syncs: "deaths at a sync",
    deaths_at_directory_syncs: "deaths at the sync of a directory",
    slow_syncs: "slow syncs",
    failed_starts: "starts cut short",
    disconnects: "disconnects",
    clock_steps: "clock steps",
    glitches: "glitches of the wall clock",
    misled_starts: "starts a year ahead",
    checkpoints: "checkpoints asked for",
    looks: "looks at blocked readers",
    verifications: "verifications",
}
