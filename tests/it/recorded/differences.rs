//! The reasons in compat/differences.md for replies that differ from the recordings.

use std::path::PathBuf;

const HEADING: &str = "## What differs from the recording of Redis 8.0.6";

/// The commands in the first column of the table below [`HEADING`]; each also covers commands that begin with
/// it.
pub struct Differences {
    commands: Vec<(String, bool)>,
}

impl Differences {
    pub fn read() -> Differences {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/differences.md");
        let text = std::fs::read_to_string(path).expect("the differences");
        let (_, section) = text.split_once(HEADING).expect("a section about the recording");
        let section = section.split("\n## ").next().unwrap_or_default();
        let mut commands = Vec::new();
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            assert!(cells.len() == 2 && cells[1].len() > 10, "a command and a reason: {row}");
            commands
                .extend(cells[0].split('`').skip(1).step_by(2).map(|command| (command.to_owned(), false)));
        }
        Differences { commands }
    }

    /// Whether a reason exists; marks it as used.
    pub fn allows(&mut self, command: &str) -> bool {
        let found = self.commands.iter_mut().filter(|(name, _)| {
            command.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        found.map(|(_, is_used)| *is_used = true).count() > 0
    }

    /// Commands with unused reasons.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().filter(|(_, is_used)| !is_used).map(|(command, _)| command.as_str())
    }
}
