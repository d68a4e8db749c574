//! Limits of the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors besides those of clients: listeners, the journal, checkpoints, the runtime (Redis
/// `CONFIG_MIN_RESERVED_FDS`).
const FILES_RESERVED: u64 = 32;

/// How many of the wanted clients may be connected at once, at least 1: each takes a descriptor. Raises the
/// limit of open files as far as the system allows.
pub fn files_for_clients(wanted: u64) -> u64 {
    let allowed = raise_file_limit(wanted.saturating_add(FILES_RESERVED));
    allowed.saturating_sub(FILES_RESERVED).clamp(1, wanted.max(1))
}

/// Raises the limit of open files to `wanted`, or as near as the system allows. Returns the limit in force,
/// which may be higher.
fn raise_file_limit(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = current.unwrap_or(u64::MAX);
    if allowed >= wanted {
        return allowed;
    }
    // Only root may raise the hard limit: try both, then the soft limit up to it.
    let both = Rlimit { current: Some(wanted), maximum: maximum.map(|most| most.max(wanted)) };
    if setrlimit(Resource::Nofile, both).is_ok() {
        return wanted;
    }
    let most = maximum.map_or(wanted, |most| most.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }) {
        Ok(()) => most,
        Err(_) => allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_lowered() {
        let before = raise_file_limit(0);
        assert!(before > 0);
        assert!(raise_file_limit(before.min(1 << 20)) >= before.min(1 << 20));
    }
}
