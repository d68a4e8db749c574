//! Atomic replacement of files that people edit too: the settings file, the users file.

use crate::env::fs::{Fs, OpenMode};
use std::io;
use std::path::Path;

/// Replaces the contents of the file: after an error, or a crash at any moment, it has the old contents or
/// the new ones. Its permissions stay.
///
/// # Errors
///
/// Errors of the disk; no temporary file is left.
pub fn replace_file(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let replaced = write_and_rename(fs, path, &temporary, bytes);
    if replaced.is_err() {
        let _ = fs.remove_file(&temporary);
    }
    replaced
}

fn write_and_rename(fs: &dyn Fs, path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs.exists(temporary)? {
        // Left by a replacement that did not finish.
        fs.remove_file(temporary)?;
    }
    let file = fs.open(temporary, OpenMode::CreateNew)?;
    if fs.exists(path)? {
        // Before the file has content, which may include passwords.
        fs.copy_permissions(path, temporary)?;
    }
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    fs.rename(temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs.sync_dir(folder.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::fs::RealFs;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn who_may_read_the_file_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.acl");
        replace_file(&RealFs, &path, b"made").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.path().join("users.acl.tmp"), "of a time that did not end").unwrap();
        replace_file(&RealFs, &path, b"secret").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
