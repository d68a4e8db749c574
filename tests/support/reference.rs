//! The Redis for comparison: Debian's redis-server.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Path of redis-server, or `None` if it is missing and cannot be installed. HEADWATER_REQUIRE_REDIS=1 makes
/// that a failure.
pub fn redis_server() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find_or_install).clone()
}

fn find_or_install() -> Option<PathBuf> {
    if let Some(path) = find() {
        return Some(path);
    }
    // Several test processes may get here at once: one installs, the others wait for it.
    let lock = File::create(std::env::temp_dir().join("headwater-tests-redis.lock")).expect("a lock file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .expect("the lock of the installation");
    if find().is_none() && is_root() {
        install();
    }
    let found = find();
    if found.is_none() {
        let message = "no redis-server here (Debian: apt-get install redis-server redis-tools)";
        assert!(std::env::var_os("HEADWATER_REQUIRE_REDIS").is_none(), "{message}");
        eprintln!("SKIPPED: {message}");
    }
    found
}

fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HEADWATER_REDIS_SERVER") {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("redis-server")).find(|path| path.is_file());
    found.or_else(|| Some(PathBuf::from("/usr/bin/redis-server")).filter(|path| path.is_file()))
}

fn install() {
    // The package would start a service on port 6379; the tests start their own servers.
    for arguments in [
        &["update", "-q"][..],
        &["install", "-y", "-q", "--no-install-recommends", "redis-server", "redis-tools"],
    ] {
        let outcome = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1")
            .stdin(Stdio::null())
            .output();
        match outcome {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("apt-get {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("apt-get {arguments:?}: {error}"),
        }
    }
}

pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(1) == Some("0"))
}

/// Version of the Redis at `path`, as `(7, 0)`.
pub fn version(path: &Path) -> (u32, u32) {
    let output = Command::new(path).arg("--version").output().expect("redis-server --version");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("v=").nth(1).unwrap_or_else(|| panic!("version in {text}"));
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
