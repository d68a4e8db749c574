//! The slow log: SLOWLOG (Redis `slowlog.c`).

use std::collections::VecDeque;

/// Arguments kept of a command; the last one states how many were left out (Redis `SLOWLOG_ENTRY_MAX_ARGC`).
pub const ARGS_MAX: usize = 32;

/// Bytes kept of an argument (Redis `SLOWLOG_ENTRY_MAX_STRING`).
pub const ARG_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCommand {
    /// Counts up from 0; never reused, not even after SLOWLOG RESET.
    pub id: u64,
    pub unix_seconds: u64,
    pub microseconds: u64,
    /// Shortened by [`shorten`].
    pub args: Vec<Vec<u8>>,
    /// `ip:port` of the client.
    pub address: String,
    /// The name from CLIENT SETNAME.
    pub name: Vec<u8>,
}

/// The most recent slow commands, newest first.
#[derive(Debug, Default)]
pub struct SlowLog {
    commands: VecDeque<SlowCommand>,
    next_id: u64,
}

impl SlowLog {
    /// Adds a command, drops the oldest beyond `len_max`, returns the new id.
    pub fn push(&mut self, command: SlowCommand, len_max: u64) {
        self.commands.push_front(SlowCommand { id: self.next_id, ..command });
        self.next_id += 1;
        self.shorten_to(len_max);
    }

    /// Drops the oldest beyond `len_max`.
    pub fn shorten_to(&mut self, len_max: u64) {
        self.commands.truncate(usize::try_from(len_max).unwrap_or(usize::MAX));
    }

    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &SlowCommand> {
        self.commands.iter()
    }

    pub fn clear(&mut self) {
        self.commands.clear();
    }
}

/// The arguments as the log keeps them, shortened in number and length. `total` is the command's argument
/// count; `args` yields at least the first [`ARGS_MAX`].
pub fn shorten<'a>(args: impl Iterator<Item = &'a [u8]>, total: usize) -> impl Iterator<Item = Vec<u8>> {
    let whole = if total > ARGS_MAX { ARGS_MAX - 1 } else { total };
    let more = (total > whole).then(|| format!("... ({} more arguments)", total - whole).into_bytes());
    args.take(whole).map(shorten_one).chain(more)
}

fn shorten_one(arg: &[u8]) -> Vec<u8> {
    match arg.len().checked_sub(ARG_BYTES_MAX) {
        None | Some(0) => arg.to_vec(),
        Some(more) => [&arg[..ARG_BYTES_MAX], format!("... ({more} more bytes)").as_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(microseconds: u64) -> SlowCommand {
        SlowCommand {
            id: 0,
            unix_seconds: 1,
            microseconds,
            args: vec![b"PING".to_vec()],
            address: "127.0.0.1:1".into(),
            name: Vec::new(),
        }
    }

    #[test]
    fn the_newest_are_kept_and_ids_go_on() {
        let mut log = SlowLog::default();
        (0..5).for_each(|microseconds| log.push(command(microseconds), 3));
        let kept: Vec<_> = log.iter().map(|command| (command.id, command.microseconds)).collect();
        assert_eq!(kept, [(4, 4), (3, 3), (2, 2)]);
        log.clear();
        log.push(command(9), 3);
        assert_eq!(log.iter().next().unwrap().id, 5);
        log.push(command(9), 0);
        assert_eq!(log.len(), 0);
    }

    #[test]
    fn arguments_are_shortened_as_in_redis() {
        let shortened = |args: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
            shorten(args.iter().map(|arg| &arg[..]), args.len()).collect()
        };
        assert_eq!(shortened(vec![vec![b'a'; 128]; 32]), vec![vec![b'a'; 128]; 32]);
        let long = shortened(vec![vec![b'a'; 129]; 33]);
        assert_eq!(long.len(), 32);
        assert_eq!(long[0], [&[b'a'; 128][..], b"... (1 more bytes)"].concat());
        assert_eq!(long[31], b"... (2 more arguments)");
    }
}
