//! File systems of their own, mounted for the duration of a test. Only root can.

use crate::support::reference::is_root;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Mounted {
    at: PathBuf,
    /// Of a loop device.
    image: Option<PathBuf>,
}

impl Mounted {
    /// `None`, and says so, if this machine does not allow it.
    pub fn tmpfs(at: &Path, options: &str) -> Option<Mounted> {
        let mounted = is_root() && run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &text(at)]);
        if !mounted {
            eprintln!("SKIPPED: only root can mount");
        }
        mounted.then(|| Mounted { at: at.to_path_buf(), image: None })
    }

    /// ext4 on a loop device of `bytes` bytes; `None`, and says so, if this machine does not allow it.
    pub fn ext4(at: &Path, bytes: u64) -> Option<Mounted> {
        let image = at.with_extension("image");
        let made = File::create(&image).and_then(|file| file.set_len(bytes));
        made.expect("an image of a disk");
        let mounted = is_root()
            && run("mkfs.ext4", &["-q", "-F", &text(&image)])
            && run("mount", &["-o", "loop", &text(&image), &text(at)]);
        if !mounted {
            eprintln!("SKIPPED: only root can mount, and there must be loop devices and mkfs.ext4");
        }
        mounted.then(|| Mounted { at: at.to_path_buf(), image: Some(image) })
    }

    pub fn remount(&self, options: &str) {
        assert!(
            run("mount", &["-o", &format!("remount,{options}"), &text(&self.at)]),
            "remount with {options}"
        );
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", &text(&self.at)]);
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).status().is_ok_and(|status| status.success())
}
