//! What a seed chooses before anything happens.

use headwater::config::config::{Config, DebugCommands, DirectWrites, Durability, FlushPolicy};
use headwater::env::entropy::SeededEntropy;
use headwater::replication::committer::CommitterOptions;
use headwater::storage::journal::options::JournalOptions;
use std::time::Duration;

/// Bytes of the disk that are kept for what gives space back.
pub const DISK_RESERVE: u64 = 16 << 10;

#[derive(Debug, Clone)]
pub struct Settings {
    pub partitions: u16,
    pub clients: usize,
    pub epochs: u64,
    pub steps: u64,
    pub pipeline: u64,
    pub is_relaxed: bool,
    pub interval_ms: u64,
    pub flush: FlushPolicy,
    pub file_bytes: u64,
    pub prepares_next_file: bool,
    pub checkpoint_bytes: u64,
    pub sync_us: u64,
    pub is_fifo: bool,
    pub pipe_bytes: usize,
    /// What is in the log as one entry. A small one makes several of what came together.
    pub batch_bytes: usize,
    pub steps_clock: bool,
    pub events: bool,
    /// Reads name several streams.
    pub reads_several: bool,
    /// Most clients are blocked on one group.
    pub is_crowded: bool,
    pub writes_directly: bool,
}

impl Settings {
    pub fn draw(random: &SeededEntropy) -> Settings {
        let pick = |choices: &[u64]| choices[random.below(choices.len() as u64) as usize];
        Settings {
            partitions: if random.chance(70) { 1 } else { 3 },
            clients: 2 + random.below(6) as usize,
            epochs: 1 + random.below(3),
            steps: pick(&[40, 80, 150, 300]),
            pipeline: pick(&[1, 2, 4, 8]),
            is_relaxed: random.chance(25),
            interval_ms: pick(&[20, 100, 1000]),
            flush: match random.below(3) {
                0 => FlushPolicy::Inline,
                1 => FlushPolicy::Thread,
                _ => FlushPolicy::Auto,
            },
            file_bytes: pick(&[2048, 8192, 65536]),
            prepares_next_file: random.chance(50),
            checkpoint_bytes: pick(&[4096, 16384, 1 << 20]),
            sync_us: pick(&[0, 100, 2000, 20_000]),
            is_fifo: random.chance(20),
            pipe_bytes: pick(&[64, 4096, 65536]) as usize,
            batch_bytes: pick(&[100, 512, 1 << 20]) as usize,
            steps_clock: random.chance(50),
            events: random.chance(20),
            reads_several: random.chance(50),
            is_crowded: random.chance(30),
            writes_directly: random.chance(50),
        }
    }

    /// Whether readers of a group are served in the order in which they came. A read of several partitions is
    /// one in each of them: it has no place in the order, and who came behind it may overtake others.
    pub fn serves_in_order(&self) -> bool {
        self.partitions == 1 || !self.reads_several
    }

    pub fn config(&self) -> Config {
        Config {
            dir: "/data".into(),
            partitions: self.partitions,
            enable_debug_command: DebugCommands::Yes,
            durability: if self.is_relaxed { Durability::Relaxed } else { Durability::Fsync },
            sync_interval_ms: self.interval_ms,
            flush_policy: self.flush,
            direct_writes: if self.writes_directly { DirectWrites::Yes } else { DirectWrites::No },
            checkpoint_journal_bytes: self.checkpoint_bytes,
            journal_file_bytes: self.file_bytes,
            disk_reserve: Some(DISK_RESERVE),
            ..Config::default()
        }
    }

    pub fn committer(&self, config: &Config) -> CommitterOptions {
        let mut options = CommitterOptions::from(config);
        options.prepares_next_file = self.prepares_next_file;
        options.journal = self.journal();
        options
    }

    pub fn journal(&self) -> JournalOptions {
        JournalOptions {
            file_bytes: self.file_bytes,
            first_file_bytes: 4096,
            zero_ahead_bytes: 4096,
            ..JournalOptions::default()
        }
    }

    pub fn sync_time(&self) -> Duration {
        Duration::from_micros(self.sync_us)
    }
}
