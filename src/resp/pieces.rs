//! Replies as bytes, piece by piece: a large one is encoded while it is sent.

use crate::model::entries::{EntryList, ListPlace};
use crate::model::reply::Reply;
use crate::resp::rope::{Produce, Rope};
use crate::resp::writer::{self, Protocol};
use std::collections::VecDeque;

/// A reply in progress. Of the machine it holds only the entries to show, unchanged by later writes.
#[derive(Debug)]
pub struct PieceWriter {
    protocol: Protocol,
    /// The remaining pieces. The first piece is never empty.
    pieces: VecDeque<Piece>,
}

#[derive(Debug)]
enum Piece {
    Written { bytes: Vec<u8>, from: usize },
    Entries { list: EntryList, from: ListPlace },
}

impl PieceWriter {
    /// Encodes small parts at once; lists with a source wait for [`PieceWriter::write`].
    pub fn new(protocol: Protocol, reply: Reply) -> PieceWriter {
        let mut pieces = PieceWriter { protocol, pieces: VecDeque::new() };
        pieces.split(reply);
        pieces
    }

    /// Whether a reply is large enough to be written in pieces.
    #[inline]
    pub fn is_for(reply: &Reply) -> bool {
        match reply {
            Reply::Entries(list) => list.is_shared(),
            Reply::Streams(streams) => streams.iter().any(|(_, list)| list.is_shared()),
            Reply::Array(_) | Reply::Set(_) | Reply::Push(_) | Reply::Map(_) => PieceWriter::has_large(reply),
            _ => false,
        }
    }

    fn has_large(reply: &Reply) -> bool {
        match reply {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                items.iter().any(PieceWriter::is_for)
            }
            Reply::Map(pairs) => {
                pairs.iter().any(|(key, value)| PieceWriter::is_for(key) || PieceWriter::is_for(value))
            }
            _ => false,
        }
    }

    /// Appends about `most` bytes; a begun entry is finished. Returns whether more follows.
    pub fn write(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        let resp3 = self.protocol == Protocol::Resp3;
        let end = out.len().saturating_add(most.max(1));
        while out.len() < end
            && let Some(piece) = self.pieces.front_mut()
        {
            let is_done = match piece {
                Piece::Written { bytes, from } => {
                    let to = bytes.len().min(*from + (end - out.len()));
                    out.extend_from_slice(&bytes[*from..to]);
                    *from = to;
                    to == bytes.len()
                }
                Piece::Entries { list, from } => {
                    let mut left = list.iter_from(*from);
                    while out.len() < end && writer::entry(out, resp3, &mut left) {}
                    *from = left.place();
                    left.len() == 0
                }
            };
            if is_done {
                self.pieces.pop_front();
            }
        }
        !self.pieces.is_empty()
    }

    fn split(&mut self, reply: Reply) {
        let protocol = self.protocol;
        let resp3 = protocol == Protocol::Resp3;
        match reply {
            reply if !PieceWriter::is_for(&reply) => writer::write(self.tail(), protocol, &reply),
            Reply::Entries(list) => self.split_list(*list),
            Reply::Streams(streams) => {
                writer::header(self.tail(), if resp3 { b'%' } else { b'*' }, streams.len());
                for (key, list) in streams {
                    if !resp3 {
                        writer::header(self.tail(), b'*', 2);
                    }
                    writer::bulk(self.tail(), &key);
                    self.split_list(list);
                }
            }
            Reply::Array(items) => self.split_items(b'*', items),
            Reply::Set(items) => self.split_items(if resp3 { b'~' } else { b'*' }, items),
            Reply::Push(items) => self.split_items(if resp3 { b'>' } else { b'*' }, items),
            Reply::Map(pairs) => {
                let (kind, len) = if resp3 { (b'%', pairs.len()) } else { (b'*', pairs.len() * 2) };
                writer::header(self.tail(), kind, len);
                for (key, value) in pairs {
                    self.split(key);
                    self.split(value);
                }
            }
            other => panic!("{other:?} has no list"),
        }
    }

    fn split_items(&mut self, kind: u8, items: Vec<Reply>) {
        writer::header(self.tail(), kind, items.len());
        items.into_iter().for_each(|item| self.split(item));
    }

    fn split_list(&mut self, list: EntryList) {
        writer::header(self.tail(), b'*', list.len());
        if !list.is_empty() {
            self.pieces.push_back(Piece::Entries { from: list.start(), list });
        }
    }

    /// The last piece, for appending.
    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.pieces.back(), Some(Piece::Written { .. })) {
            self.pieces.push_back(Piece::Written { bytes: Vec::new(), from: 0 });
        }
        match self.pieces.back_mut() {
            Some(Piece::Written { bytes, .. }) => bytes,
            last => panic!("{last:?} was just pushed"),
        }
    }
}

impl Produce for PieceWriter {
    fn produce(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        self.write(out, limit)
    }

    fn held_bytes(&self) -> usize {
        let piece = |piece: &Piece| match piece {
            Piece::Written { bytes, .. } => bytes.capacity(),
            Piece::Entries { list, .. } => list.memory(),
        };
        self.pieces.iter().map(piece).sum()
    }
}

/// Appends a reply; a large list of entries is encoded while it is sent.
#[inline]
pub fn write(out: &mut Rope, protocol: Protocol, reply: &Reply) {
    if PieceWriter::is_for(reply) {
        out.push_lazy(Box::new(PieceWriter::new(protocol, reply.clone())));
    } else {
        writer::write(out, protocol, reply);
    }
}
