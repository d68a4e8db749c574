//! `meta`, the file that says what a data directory is. docs/formats.md describes it line by line.
//!
//! It is small, checked as a whole, and replaced as a whole: after a crash at any moment it is the old one or
//! the new one.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::base::crc;
use crate::storage::checkpoint;
use crate::storage::journal::file as journal_file;

/// The format of `meta`, which is that of the directory's layout.
pub const FORMAT_VERSION: u32 = 2;

/// Why the file is not read.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    #[error("{}: damaged at byte {offset}: {reason}", path.display())]
    Damaged { path: PathBuf, offset: usize, reason: String },
    #[error("{} was written by a newer headwater: data format {found}, this version reads {FORMAT_VERSION}", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("{}: a newer headwater has written here: {what} format {found}, this version reads {known}", path.display())]
    NewerInside { path: PathBuf, what: &'static str, found: u32, known: u32 },
}

/// The content of `meta`. All but the role is drawn or decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub role: Role,
    pub node_id: u64,
    /// Salt of the journal's checksums: see [`crate::storage::journal::journal::JournalOptions::salt`].
    pub salt: u64,
    pub partitions: u16,
}

/// What the node of a directory is. A role leads to the ones after it and never back: what a member knows is
/// no longer its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In no cluster: what is durable here is committed.
    Solo,
    /// Told to join the cluster, and without a part in it yet.
    Joining(ClusterId),
    /// A member of the cluster, perhaps its only one: its groups decide what is committed.
    Member(ClusterId),
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Solo => "solo",
            Role::Joining(_) => "joining",
            Role::Member(_) => "member",
        }
    }

    pub fn cluster(self) -> Option<ClusterId> {
        match self {
            Role::Solo => None,
            Role::Joining(cluster) | Role::Member(cluster) => Some(cluster),
        }
    }
}

/// Drawn when a cluster is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The newest formats that a directory may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formats {
    pub meta: u32,
    pub journal: u32,
    pub checkpoint: u32,
}

impl Formats {
    /// What this version writes.
    pub const WRITTEN: Formats = Formats {
        meta: FORMAT_VERSION,
        journal: journal_file::FORMAT_VERSION,
        checkpoint: checkpoint::FORMAT_VERSION,
    };

    /// Version 1 of `meta` told nothing of the others.
    const OF_META_1: Formats = Formats { meta: 1, journal: 1, checkpoint: 1 };
}

/// No `meta` is longer.
pub const BYTES_MAX: usize = 1024;

pub fn encode(meta: &Meta) -> String {
    let Meta { role, node_id, salt, partitions } = meta;
    let cluster = role.cluster().map_or_else(|| "-".to_owned(), |cluster| cluster.to_string());
    let Formats { meta, journal, checkpoint } = Formats::WRITTEN;
    sealed(format!(
        "headwater-format {meta}\nrole {}\ncluster {cluster}\nnode {node_id:016x}\nsalt {salt:016x}\n\
         partitions {partitions}\njournal {journal}\ncheckpoint {checkpoint}\n",
        role.name()
    ))
}

/// The content of version 1, which did not know of roles.
#[cfg(test)]
pub fn encode_1(meta: &Meta) -> String {
    let Meta { node_id, salt, partitions, .. } = meta;
    sealed(format!("headwater-format 1\npartitions {partitions}\nnode {node_id:016x}\nsalt {salt:016x}\n"))
}

fn sealed(body: String) -> String {
    format!("{body}crc32c {:08x}\n", crc::crc32c(body.as_bytes()))
}

/// Reads the content of the file at `path`, in this version or an earlier one; `role_of_1` is the role of a
/// node that did not know of roles.
///
/// # Errors
///
/// Anything but the exact bytes that a version has written: a damage with its offset, or a later format.
pub fn decode(bytes: &[u8], path: &Path, role_of_1: Role) -> Result<(Meta, Formats), MetaError> {
    let damaged = |offset: usize, reason: &str| MetaError::Damaged {
        path: path.to_owned(),
        offset,
        reason: reason.into(),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.valid_up_to(), "not text"))?;
    let (body, crc) = match text.rfind("crc32c ") {
        Some(at) => text.split_at(at),
        None => return Err(damaged(text.len(), "no checksum")),
    };
    if crc != format!("crc32c {:08x}\n", crc::crc32c(body.as_bytes())) {
        return Err(damaged(body.len(), "the checksum does not match"));
    }
    let mut lines = Lines { rest: body, at: 0, path };
    // The first line keeps its form in every version, so that a later one is recognised.
    let version: u32 = lines.number("headwater-format")?;
    let (meta, formats) = match version {
        1 => {
            let partitions = lines.number("partitions")?;
            let (node_id, salt) = (lines.hex("node")?, lines.hex("salt")?);
            (Meta { role: role_of_1, node_id, salt, partitions }, Formats::OF_META_1)
        }
        2 => {
            let role = lines.role()?;
            let (node_id, salt) = (lines.hex("node")?, lines.hex("salt")?);
            let partitions = lines.number("partitions")?;
            let (journal, checkpoint) = (lines.number("journal")?, lines.number("checkpoint")?);
            (Meta { role, node_id, salt, partitions }, Formats { meta: 2, journal, checkpoint })
        }
        found => return Err(MetaError::Newer { path: path.to_owned(), found }),
    };
    lines.end()?;
    let Formats { journal, checkpoint, .. } = Formats::WRITTEN;
    for (what, found, known) in
        [("journal", formats.journal, journal), ("checkpoint", formats.checkpoint, checkpoint)]
    {
        if found > known {
            return Err(MetaError::NewerInside { path: path.to_owned(), what, found, known });
        }
    }
    Ok((meta, formats))
}

/// The lines of a body: a name, a blank and a value each.
struct Lines<'t> {
    rest: &'t str,
    /// Offset of `rest` in the file.
    at: usize,
    path: &'t Path,
}

impl<'t> Lines<'t> {
    fn damaged(&self, offset: usize, reason: String) -> MetaError {
        MetaError::Damaged { path: self.path.to_owned(), offset, reason }
    }

    /// The value of the next line, and its offset.
    fn value(&mut self, name: &str) -> Result<(&'t str, usize), MetaError> {
        let value = self.rest.split_once('\n').and_then(|(line, rest)| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            Some((value, rest))
        });
        let Some((value, rest)) = value else {
            return Err(self.damaged(self.at, format!("no line {name:?}")));
        };
        let at = self.at + name.len() + 1;
        self.at = at + value.len() + 1;
        self.rest = rest;
        Ok((value, at))
    }

    /// Reads a value in the only spelling that is written.
    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        written: impl FnOnce(&T) -> String,
    ) -> Result<T, MetaError> {
        let (value, at) = self.value(name)?;
        let parsed = parse(value).filter(|parsed| written(parsed) == value);
        parsed.ok_or_else(|| self.damaged(at, format!("{value:?} is no value of {name:?}")))
    }

    fn number<N: std::str::FromStr + fmt::Display>(&mut self, name: &str) -> Result<N, MetaError> {
        self.parsed(name, |value| value.parse().ok(), N::to_string)
    }

    fn hex(&mut self, name: &str) -> Result<u64, MetaError> {
        self.parsed(name, |value| u64::from_str_radix(value, 16).ok(), |number| format!("{number:016x}"))
    }

    fn role(&mut self) -> Result<Role, MetaError> {
        let (name, at) = self.value("role")?;
        let cluster = self.parsed(
            "cluster",
            |value| match value {
                "-" => Some(None),
                _ => u128::from_str_radix(value, 16).ok().map(|id| Some(ClusterId(id))),
            },
            |cluster| cluster.map_or_else(|| "-".to_owned(), |cluster| cluster.to_string()),
        )?;
        match (name, cluster) {
            ("solo", None) => Ok(Role::Solo),
            ("joining", Some(cluster)) => Ok(Role::Joining(cluster)),
            ("member", Some(cluster)) => Ok(Role::Member(cluster)),
            _ => Err(self.damaged(at, format!("{name:?} is no role of a node with this cluster"))),
        }
    }

    fn end(&self) -> Result<(), MetaError> {
        match self.rest {
            "" => Ok(()),
            rest => Err(self.damaged(self.at, format!("{rest:?} is more than this version writes"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../docs/formats.md");

    const CLUSTER: ClusterId = ClusterId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

    fn meta(role: Role) -> Meta {
        Meta { role, node_id: 0xfeed, salt: 7, partitions: 16 }
    }

    fn read(text: &str) -> Result<(Meta, Formats), MetaError> {
        decode(text.as_bytes(), Path::new("/d/meta"), Role::Solo)
    }

    /// Every role, and the version before.
    fn texts() -> Vec<(Meta, String)> {
        let roles = [Role::Solo, Role::Joining(CLUSTER), Role::Member(CLUSTER)];
        let mut texts: Vec<_> = roles.into_iter().map(|role| (meta(role), encode(&meta(role)))).collect();
        texts.push((meta(Role::Solo), encode_1(&meta(Role::Solo))));
        texts
    }

    #[test]
    fn what_is_written_is_read() {
        for (meta, text) in texts() {
            assert!(text.len() <= BYTES_MAX);
            assert_eq!(read(&text).unwrap().0, meta, "{text}");
        }
        let old = encode_1(&meta(Role::Solo));
        let (read_as_member, formats) =
            decode(old.as_bytes(), Path::new("/d/meta"), Role::Member(CLUSTER)).unwrap();
        assert_eq!((read_as_member.role, formats), (Role::Member(CLUSTER), Formats::OF_META_1));
    }

    #[test]
    fn every_flipped_bit_and_every_length_of_meta_is_refused() {
        for (_, text) in texts() {
            let refused = |bytes: &[u8], what: &str| {
                let error = decode(bytes, Path::new("/d/meta"), Role::Solo).unwrap_err();
                assert!(matches!(error, MetaError::Damaged { .. }), "{what}: {error}");
                let told = error.to_string();
                assert!(told.starts_with("/d/meta: damaged at byte "), "{what}: {told}");
            };
            for bit in 0..text.len() * 8 {
                let mut damaged = text.clone().into_bytes();
                damaged[bit / 8] ^= 1 << (bit % 8);
                refused(&damaged, &format!("bit {bit}"));
            }
            for len in 0..text.len() {
                refused(&text.as_bytes()[..len], &format!("{len} bytes"));
            }
            refused(format!("{text}\0").as_bytes(), "one more byte");
        }
    }

    /// With a checksum that is right.
    #[test]
    fn what_no_version_writes_is_refused_where_it_stands() {
        let text = encode(&meta(Role::Member(CLUSTER)));
        let body = &text[..text.rfind("crc32c").unwrap()];
        for (from, to) in [
            ("role member", "role owner"),
            ("role member", "role solo"),
            ("cluster 0123", "cluster 123"),
            ("role member\ncluster 0123456789abcdef0123456789abcdef", "role member\ncluster -"),
            ("node 000000000000feed", "node 000000000000FEED"),
            ("node ", "knot "),
            ("partitions 16", "partitions +16"),
            ("partitions 16", "partitions 70000"),
            ("headwater-format 2", "headwater-format two"),
            ("headwater-format 2", "headwater-format 02"),
            ("salt 0000000000000007\n", ""),
        ] {
            let changed = body.replace(from, to);
            assert_ne!(changed, body);
            let error = read(&sealed(changed)).unwrap_err();
            let MetaError::Damaged { offset, .. } = error else { panic!("{to}: {error}") };
            let line = body.find(from).unwrap();
            assert!((line..=line + from.len()).contains(&offset), "{to}: {error}");
        }
        let error = read(&sealed(format!("{body}more 1\n"))).unwrap_err();
        assert!(error.to_string().contains("more"), "{error}");
    }

    #[test]
    fn a_newer_format_is_named() {
        let error = read(&sealed("headwater-format 9\nsomething new\n".to_owned())).unwrap_err();
        assert!(matches!(error, MetaError::Newer { found: 9, .. }), "{error}");
        let text = encode(&meta(Role::Solo));
        for what in ["journal", "checkpoint"] {
            let lines = text.lines().filter(|line| !line.starts_with("crc32c"));
            let lines = lines.map(|line| match line.split_once(' ') {
                Some((name, _)) if name == what => format!("{name} 99\n"),
                _ => format!("{line}\n"),
            });
            let error = read(&sealed(lines.collect())).unwrap_err().to_string();
            assert!(error.contains("/d/meta") && error.contains(&format!("{what} format 99")), "{error}");
        }
    }

    /// The lines of the page, in order, and its sample.
    #[test]
    fn docs_formats_md_says_what_is_written() {
        let text = encode(&Meta {
            role: Role::Member(CLUSTER),
            node_id: 0x024d_ffa1_ca90_bd84,
            salt: 0x7c49_31c6_84ce_46b7,
            partitions: 4,
        });
        let (_, sample) = PAGE.split_once("```text\nheadwater-format").expect("a sample");
        let (sample, _) = sample.split_once("```").expect("its end");
        assert_eq!(format!("headwater-format{sample}"), text);
        let rows = PAGE.lines().skip_while(|line| !line.starts_with("| line | name |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|')).enumerate().map(|(at, row)| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells[0].parse(), Ok(at + 1), "{row}");
            cells[1].trim_matches('`').to_owned()
        });
        let names = text.lines().map(|line| line.split_once(' ').expect("a name and a value").0.to_owned());
        assert_eq!(rows.collect::<Vec<_>>(), names.collect::<Vec<_>>());
    }
}
