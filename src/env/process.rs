//! Limits of the process.

use std::fs;
use std::path::Path;

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

/// Bytes of memory that the process may use: those of the machine, or of its control group if that has fewer.
/// 0 if the system does not say.
pub fn memory_bytes() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let group = groups.lines().filter_map(|line| group_limit(line, &read)).min();
    let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(machine_bytes);
    group.into_iter().chain(machine).min().unwrap_or(0)
}

/// The line `MemTotal:  16316412 kB`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of a control group and those around it (cgroups(7)): `0::/a/b` for version 2, and
/// `4:memory:/a/b` for version 1. In a container the path may be that of the host: then the files stand at the
/// root.
fn group_limit(line: &str, read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (root, file) = match fields.next()? {
        "" => ("/sys/fs/cgroup", "memory.max"),
        kinds if kinds.split(',').any(|kind| kind == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = Path::new(root).join(fields.next()?.trim_start_matches('/'));
    let around = group.ancestors().take_while(|folder| folder.starts_with(root));
    around.filter_map(|folder| read(&folder.join(file))?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let read = |path: &Path| match path.to_str() {
            Some("/sys/fs/cgroup/a/b/memory.max") => Some("max\n".to_owned()),
            Some("/sys/fs/cgroup/a/memory.max") => Some("1000\n".to_owned()),
            Some("/sys/fs/cgroup/memory.max") => Some("2000\n".to_owned()),
            Some("/sys/fs/cgroup/memory/memory.limit_in_bytes") => Some("9223372036854771712\n".to_owned()),
            _ => None,
        };
        assert_eq!(group_limit("0::/a/b", &read), Some(1000));
        assert_eq!(group_limit("0::/", &read), Some(2000));
        assert_eq!(group_limit("4:memory:/docker/4a", &read), Some(9_223_372_036_854_771_712));
        assert_eq!(group_limit("3:cpu,cpuacct:/", &read), None);
        assert_eq!(group_limit("nonsense", &read), None);
        assert_eq!(machine_bytes("MemTotal:       16316412 kB\nMemFree: 1 kB"), Some(16_316_412 << 10));
        assert!(memory_bytes() > 1 << 20);
    }

    #[test]
    fn a_limit_is_never_lowered() {
        let before = raise_file_limit(0);
        assert!(before > 0);
        assert!(raise_file_limit(before.min(1 << 20)) >= before.min(1 << 20));
    }
}
