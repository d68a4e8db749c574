//! An ext4 file system in an image, whose power can be cut.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: from this moment nothing reaches the device, neither
/// dirty pages nor what the journal of the file system holds back.
const SWITCH: &str = "
import fcntl, os, struct, sys
print('ready', flush=True)
for line in sys.stdin:
    fd = os.open(line.rstrip('\\n'), os.O_RDONLY)
    fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))
    os.close(fd)
    print('cut', flush=True)
";

const IMAGE_BYTES: u64 = 192 << 20;

/// Names the mount points, so that those of a run that was killed are found again.
const PREFIX: &str = "headwater-power-";

/// A mounted file system. Dropping it unmounts it and frees the loop device.
pub struct Disk {
    folder: TempDir,
    is_mounted: bool,
}

impl Disk {
    /// A new file system with blocks of this length; an error says what this machine lacks.
    pub fn new(block_bytes: u32) -> Result<Disk, String> {
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = TempDir::with_prefix(prefix).map_err(|error| error.to_string())?;
        let disk = Disk { folder, is_mounted: false };
        let image = File::create(disk.image()).map_err(|error| error.to_string())?;
        image.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
        let blocks = block_bytes.to_string();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", &blocks]).arg(disk.image()))?;
        fs::create_dir(disk.mount_point()).map_err(|error| error.to_string())?;
        disk.mounted()
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub fn mount_point(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mounted(mut self) -> Result<Disk, String> {
        self.mount()?;
        Ok(self)
    }

    fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-t", "ext4", "-o", "loop"])
            .arg(self.image())
            .arg(self.mount_point()))?;
        self.is_mounted = true;
        Ok(())
    }

    /// The power returns. No process may have anything open here.
    pub fn remount(&mut self) {
        run(Command::new("umount").arg(self.mount_point())).expect("the file system is not in use");
        self.is_mounted = false;
        self.mount().expect("the journal of the file system is replayed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a process of a failed test may still be there.
            let _ = run(Command::new("umount").arg("-l").arg(self.mount_point()));
        }
    }
}

/// Unmounts what runs have left that were killed.
pub fn sweep() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for point in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let Some((_, rest)) = point.split_once(PREFIX) else { continue };
        let owner = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            let _ = run(Command::new("umount").args(["-l", point]));
            let _ = Path::new(point).parent().map(fs::remove_dir_all);
        }
    }
}

/// Cuts the power of a mounted file system. A process of its own, because the call is none of the standard
/// library's; it is started before the moment.
pub struct Switch {
    child: Child,
    told: BufReader<std::process::ChildStdout>,
}

impl Switch {
    pub fn new() -> Result<Switch, String> {
        let python = ["/usr/bin/python3", "python3"]
            .into_iter()
            .find(|path| run(Command::new(path).arg("-V")).is_ok());
        let mut command = Command::new(python.ok_or("no python3")?);
        command.args(["-c", SWITCH]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let told = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut switch = Switch { child, told };
        switch.hear("ready")?;
        Ok(switch)
    }

    /// When this returns, nothing more reaches the disk.
    pub fn cut(&mut self, disk: &Disk) -> Result<(), String> {
        let line = format!("{}\n", disk.mount_point().display());
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(line.as_bytes()).map_err(|error| error.to_string())?;
        self.hear("cut")
    }

    fn hear(&mut self, expected: &str) -> Result<(), String> {
        let mut line = String::new();
        self.told.read_line(&mut line).map_err(|error| error.to_string())?;
        if line.trim_end() == expected { Ok(()) } else { Err(format!("the switch says {line:?}")) }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
}
