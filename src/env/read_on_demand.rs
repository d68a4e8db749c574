//! Files that are opened for each read: they take a descriptor only while they are read.

use crate::env::fs::{File, Fs, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is only read. It goes by its name: the name must stay.
#[derive(Debug)]
pub struct ReadOnDemand {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl ReadOnDemand {
    pub fn file(fs: &Arc<dyn Fs>, path: &Path) -> Arc<dyn File> {
        Arc::new(ReadOnDemand { fs: Arc::clone(fs), path: path.to_owned() })
    }

    fn open(&self) -> io::Result<Arc<dyn File>> {
        self.fs.open(&self.path, OpenMode::Read)
    }
}

/// A sync of bytes that another descriptor has written may succeed though they are lost (docs/reliability.md
/// S2), so nothing is written here.
fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the file is only read")
}

impl File for ReadOnDemand {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.open()?.read_at(buffer, offset)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(refused())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(refused())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(refused())
    }

    fn len(&self) -> io::Result<u64> {
        self.open()?.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::SimFs;

    #[test]
    fn a_file_is_read_and_never_written() {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
        let path = Path::new("/a");
        fs.open(path, OpenMode::CreateNew).unwrap().write_at(b"hello", 0).unwrap();
        let file = ReadOnDemand::file(&fs, path);
        let mut bytes = [0; 3];
        assert_eq!((file.len().unwrap(), file.read_at(&mut bytes, 2).unwrap()), (5, 3));
        assert_eq!(&bytes, b"llo");
        assert!(file.write_at(b"x", 0).is_err() && file.sync_data().is_err() && file.allocate(9).is_err());
        fs.remove_file(path).unwrap();
        assert_eq!(file.read_at(&mut bytes, 0).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
