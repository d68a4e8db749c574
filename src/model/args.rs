//! The arguments of a request, borrowed from its input buffer.

use crate::base::wire::{Malformed, Reader, Writer};

/// The position of one argument in its buffer. Requests are bounded far below 4 GiB (see
/// [`crate::model::limits`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// The arguments of one request: the command name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buffer: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Every span must lie inside `buffer`.
    pub fn new(buffer: &'a [u8], spans: &'a [Span]) -> Self {
        debug_assert!(spans.iter().all(|s| s.start <= s.end && s.end as usize <= buffer.len()));
        Args { buffer, spans }
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        Some(&self.buffer[span.start as usize..span.end as usize])
    }

    /// The arguments from `index` on; empty beyond the end.
    pub fn from(&self, index: usize) -> Args<'a> {
        Args { buffer: self.buffer, spans: self.spans.get(index..).unwrap_or(&[]) }
    }

    /// The first `len` arguments, or all if there are fewer.
    pub fn first(&self, len: usize) -> Args<'a> {
        Args { buffer: self.buffer, spans: &self.spans[..len.min(self.spans.len())] }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let buffer = self.buffer;
        self.spans.iter().map(move |span| &buffer[span.start as usize..span.end as usize])
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// Owned arguments of a request that outlives its input (queued in MULTI, built by a test), readable as
/// [`Args`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    buffer: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    pub fn copy(args: Args<'_>) -> Self {
        let mut owned = OwnedArgs {
            buffer: Vec::with_capacity(args.iter().map(<[u8]>::len).sum()),
            spans: Vec::with_capacity(args.len()),
        };
        args.iter().for_each(|arg| owned.push(arg));
        owned
    }

    pub fn push(&mut self, arg: &[u8]) {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(arg);
        self.spans.push(Span { start, end: self.buffer.len() as u32 });
    }

    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.buffer, &self.spans)
    }

    /// Bytes held, for memory accounting.
    pub fn memory(&self) -> usize {
        self.buffer.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<'a> FromIterator<&'a [u8]> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(args: I) -> Self {
        let mut owned = OwnedArgs::default();
        for arg in args {
            owned.push(arg);
        }
        owned
    }
}

/// A list of byte strings inside a typed command: a slice of the request after parsing, or a packed form
/// after decoding a log entry. Iteration is the same for both and never allocates.
#[derive(Debug, Clone, Copy)]
pub enum ArgList<'a> {
    Args(Args<'a>),
    /// `count` length-prefixed strings, back to back ([`Writer::bytes`]).
    Packed {
        count: usize,
        bytes: &'a [u8],
    },
}

impl<'a> ArgList<'a> {
    pub const EMPTY: ArgList<'static> = ArgList::Packed { count: 0, bytes: &[] };

    pub fn len(&self) -> usize {
        match self {
            ArgList::Args(args) => args.len(),
            ArgList::Packed { count, .. } => *count,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> ArgIter<'a> {
        match self {
            ArgList::Args(args) => ArgIter::Args { args: *args, next: 0 },
            ArgList::Packed { bytes, .. } => ArgIter::Packed(Reader::new(bytes)),
        }
    }

    /// The strings in pairs: fields and values, keys and values. An odd last string is dropped.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut strings = self.iter();
        std::iter::from_fn(move || Some((strings.next()?, strings.next()?)))
    }

    /// An upper bound of the strings' total length; cheaper than the exact sum.
    pub fn bytes_at_most(&self) -> usize {
        match self {
            ArgList::Args(args) => args.iter().map(<[u8]>::len).sum(),
            ArgList::Packed { bytes, .. } => bytes.len(),
        }
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.varint(self.len() as u64);
        for arg in self.iter() {
            writer.bytes(arg);
        }
    }

    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = reader.count()?;
        let bytes = reader.rest();
        let start = reader.position();
        for _ in 0..count {
            reader.bytes()?;
        }
        Ok(ArgList::Packed { count, bytes: &bytes[..reader.position() - start] })
    }
}

impl PartialEq for ArgList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for ArgList<'_> {}

#[derive(Debug, Clone)]
pub enum ArgIter<'a> {
    Args { args: Args<'a>, next: usize },
    Packed(Reader<'a>),
}

impl<'a> Iterator for ArgIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            ArgIter::Args { args, next } => {
                let arg = args.get(*next)?;
                *next += 1;
                Some(arg)
            }
            // The packed form was checked when it was decoded, so it ends only here.
            ArgIter::Packed(reader) if reader.is_empty() => None,
            ArgIter::Packed(reader) => reader.bytes().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packed_list_is_the_list_that_was_packed(list: Vec<Vec<u8>>) {
            let owned: OwnedArgs = list.iter().map(|arg| &arg[..]).collect();
            let args = ArgList::Args(owned.as_args());
            let mut out = Vec::new();
            args.encode(&mut Writer::new(&mut out));
            let mut reader = Reader::new(&out);
            let packed = ArgList::decode(&mut reader).unwrap();
            prop_assert!(reader.finish().is_ok());
            prop_assert_eq!(packed, args);
            prop_assert!(packed.bytes_at_most() >= list.iter().map(Vec::len).sum());
            let pairs: Vec<_> = packed.pairs().collect();
            let expected: Vec<(&[u8], &[u8])> = list.chunks_exact(2).map(|pair| (&pair[0][..], &pair[1][..])).collect();
            prop_assert_eq!(pairs, expected);
        }
    }
}
