//! The Unix socket: a file that must neither replace another program's file nor be left behind.

use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Why no socket can be made at a path.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("there is a file which is no socket; it is left alone")]
    NoSocket,
    #[error("another process listens there")]
    InUse,
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
}

/// The file of a listening socket of this process. Dropping it removes the file, unless another file has
/// taken its path.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Listens at `path`. A file left by a killed server is replaced; `mode` 0 leaves the mode of the file to the
/// umask.
pub fn bind(path: &Path, mode: u32, backlog: u32) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |doing| move |source| BindError::Io { doing, source };
    let address = SockAddr::unix(path).map_err(failed("the path"))?;
    // Two servers that start at the same time must not both find the same stale file: one would remove the
    // other's new file.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder = fs::File::open(folder).map_err(failed("opening its directory"))?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|errno| BindError::Io { doing: "locking its directory", source: errno.into() })?;

    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("making a socket"))?;
    socket.set_nonblocking(true).map_err(failed("making a socket"))?;
    socket.bind(&address).map_err(failed("binding"))?;
    let metadata = fs::symlink_metadata(path).map_err(failed("looking at the new file"))?;
    let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
    // No client can connect before the socket listens, so there is no moment with the wrong mode.
    if mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("setting its mode"))?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX)).map_err(failed("listening"))?;
    let listener = UnixListener::from_std(socket.into()).map_err(failed("listening"))?;
    Ok((listener, file))
}

/// Removes the file of a socket without a listener.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), BindError> {
    let failed = |doing| move |source| BindError::Io { doing, source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Io { doing: "looking at what is there", source }),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindError::NoSocket),
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("making a socket"))?;
    // A full backlog must not block the start.
    probe.set_nonblocking(true).map_err(failed("making a socket"))?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("removing the stale socket"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(()) => Err(BindError::InUse),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(BindError::InUse),
        // Another type, or no permission to connect: its owner may be alive.
        Err(source) => Err(BindError::Io { doing: "asking whether somebody listens there", source }),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixListener as StdListener};

    fn bind_at(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), BindError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { bind(path, mode, 5) })
    }

    #[test]
    fn a_stale_file_is_replaced_and_the_own_one_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener that is dropped leaves its file");
        let (_listener, file) = bind_at(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_alive_or_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let alive = StdListener::bind(&path).unwrap();
        assert!(matches!(bind_at(&path, 0), Err(BindError::InUse)));
        let target = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &target).unwrap();
        assert!(matches!(bind_at(&target, 0), Err(BindError::NoSocket)));
        drop(alive);
        assert!(path.exists());

        let text = folder.path().join("text");
        fs::write(&text, "mine").unwrap();
        assert!(matches!(bind_at(&text, 0), Err(BindError::NoSocket)));
        assert_eq!(fs::read(&text).unwrap(), b"mine");

        let datagrams = folder.path().join("datagrams");
        let _alive = UnixDatagram::bind(&datagrams).unwrap();
        assert!(matches!(bind_at(&datagrams, 0), Err(BindError::Io { .. })));
        assert!(datagrams.exists());
    }

    #[test]
    fn a_file_that_another_has_put_there_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (_listener, file) = bind_at(&path, 0).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        let _other = StdListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_path_that_cannot_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(bind_at(&folder.path().join("x".repeat(200)), 0), Err(BindError::Io { .. })));
        assert!(matches!(bind_at(&folder.path().join("none/s"), 0), Err(BindError::Io { .. })));
    }
}
