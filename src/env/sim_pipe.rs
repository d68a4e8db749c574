//! A simulated socket: a connection in memory, with the semantics of tokio's halves over TCP on Linux.
//!
//! * Each direction has a buffer of fixed size. A writer that finds it full gets `WouldBlock`, or waits.
//! * After a shutdown or a drop of the write half, the peer reads the sent bytes and then the end.
//! * Dropping both halves closes the connection: with unread bytes it is reset, otherwise it ends, and later
//!   bytes are answered with a reset.
//! * After a reset the peer can still read what has arrived. Then one call gets `ConnectionReset`, unless an
//!   end had come before; later reads return the end, later writes `BrokenPipe`.
//!
//! The [`SimLink`] is the network in between: it delays bytes in transit, or breaks the connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection with `capacity` bytes in each direction.
pub fn pair(capacity: usize) -> (SimSocket, SimSocket, SimLink) {
    assert!(capacity > 0, "a pipe without room never moves a byte");
    let pipe = Rc::new(RefCell::new(Pipe { ways: [Way::new(capacity), Way::new(capacity)] }));
    let socket = |side| {
        let end = Rc::new(End { pipe: Rc::clone(&pipe), side });
        SimSocket { read: SimReadHalf { end: Rc::clone(&end) }, write: SimWriteHalf { end } }
    };
    (socket(0), socket(1), SimLink { pipe: Rc::clone(&pipe) })
}

/// One end of a connection.
#[derive(Debug)]
pub struct SimSocket {
    pub read: SimReadHalf,
    pub write: SimWriteHalf,
}

#[derive(Debug)]
pub struct SimReadHalf {
    end: Rc<End>,
}

/// Dropping it shuts down this direction of the connection.
#[derive(Debug)]
pub struct SimWriteHalf {
    end: Rc<End>,
}

/// The network between two sockets.
#[derive(Debug, Clone)]
pub struct SimLink {
    pipe: Rc<RefCell<Pipe>>,
}

/// Closes the connection when the last half of its side is dropped.
#[derive(Debug)]
struct End {
    pipe: Rc<RefCell<Pipe>>,
    /// Sends in the direction of this number, receives from the other one.
    side: usize,
}

#[derive(Debug)]
struct Pipe {
    ways: [Way; 2],
}

/// What one side sends to the other.
#[derive(Debug)]
struct Way {
    capacity: usize,
    /// Bytes that were sent and not read; the first `arrived` bytes are at the reader.
    bytes: VecDeque<u8>,
    arrived: usize,
    sent_ending: Ending,
    arrived_ending: Ending,
    /// The reader has received the reset, or must not receive it.
    is_reset_told: bool,
    /// Both halves of the reading side are dropped.
    is_reader_gone: bool,
    /// The network delivers nothing.
    is_held: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The end of a direction; a later one replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Open,
    Finished,
    Reset,
}

impl Way {
    fn new(capacity: usize) -> Way {
        Way {
            capacity,
            bytes: VecDeque::new(),
            arrived: 0,
            sent_ending: Ending::Open,
            arrived_ending: Ending::Open,
            is_reset_told: false,
            is_reader_gone: false,
            is_held: false,
            reader: None,
            writer: None,
        }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

impl Pipe {
    /// Delivers the sent bytes of a direction, unless it is held.
    fn deliver(&mut self, side: usize) {
        let way = &mut self.ways[side];
        if way.is_held {
            return;
        }
        way.arrived = way.bytes.len();
        way.arrived_ending = way.sent_ending;
        way.wake_reader();
        let is_refused = way.is_reader_gone && way.arrived > 0;
        if is_refused {
            way.bytes.clear();
            way.arrived = 0;
            self.end(1 - side, Ending::Reset);
        }
        if self.ways[side].arrived_ending == Ending::Reset {
            // Later writes of its receiver fail.
            self.ways[1 - side].wake_writer();
        }
    }

    fn end(&mut self, side: usize, ending: Ending) {
        let way = &mut self.ways[side];
        if way.sent_ending < ending {
            // After an end, Linux reports no reset.
            way.is_reset_told = way.sent_ending == Ending::Finished;
            way.sent_ending = ending;
            way.wake_writer();
            self.deliver(side);
        }
    }

    /// The error of this side's next call after a reset: reported once.
    fn take_reset(&mut self, side: usize) -> Option<io::Error> {
        let way = &mut self.ways[1 - side];
        let is_told = way.arrived_ending != Ending::Reset || std::mem::replace(&mut way.is_reset_told, true);
        (!is_told).then(|| io::ErrorKind::ConnectionReset.into())
    }

    /// Accepts as many bytes as there is room for; `WouldBlock` without room.
    fn write(&mut self, side: usize, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = self.take_reset(side) {
            return Err(error);
        }
        let is_reset = self.ways[1 - side].arrived_ending == Ending::Reset;
        let way = &mut self.ways[side];
        if is_reset || way.sent_ending != Ending::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = way.capacity - way.bytes.len();
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = room.min(bytes.len());
        way.bytes.extend(&bytes[..taken]);
        self.deliver(side);
        Ok(taken)
    }

    fn read(&mut self, side: usize, target: &mut ReadBuf<'_>) -> io::Result<()> {
        let way = &mut self.ways[1 - side];
        let taken = way.arrived.min(target.remaining());
        if taken > 0 || target.remaining() == 0 {
            let (first, second) = way.bytes.as_slices();
            let of_first = taken.min(first.len());
            target.put_slice(&first[..of_first]);
            target.put_slice(&second[..taken - of_first]);
            way.bytes.drain(..taken);
            way.arrived -= taken;
            way.wake_writer();
            return Ok(());
        }
        match way.arrived_ending {
            Ending::Open => Err(io::ErrorKind::WouldBlock.into()),
            Ending::Finished => Ok(()),
            Ending::Reset => self.take_reset(side).map_or(Ok(()), Err),
        }
    }

    fn close(&mut self, side: usize) {
        let incoming = &mut self.ways[1 - side];
        incoming.is_reader_gone = true;
        let was_unread = incoming.arrived > 0;
        incoming.bytes.drain(..incoming.arrived);
        incoming.arrived = 0;
        incoming.wake_writer();
        if was_unread {
            let outgoing = &mut self.ways[side];
            // Bytes in transit are lost.
            outgoing.bytes.truncate(outgoing.arrived);
            self.end(side, Ending::Reset);
        } else {
            self.end(side, Ending::Finished);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.pipe.borrow_mut().close(self.side);
    }
}

impl Drop for SimWriteHalf {
    fn drop(&mut self) {
        // The last half closes the connection right after this: unread bytes make it a reset.
        if Rc::strong_count(&self.end) > 1 {
            self.shut_down();
        }
    }
}

impl SimWriteHalf {
    /// Sends as much as there is room for: a number of bytes above 0, or `WouldBlock`.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.end.pipe.borrow_mut().write(self.end.side, bytes)
    }

    /// Sends nothing more; the peer reads the rest and then the end.
    pub fn shut_down(&self) {
        self.end.pipe.borrow_mut().end(self.end.side, Ending::Finished);
    }

    /// Whether the peer's end has arrived, even if earlier bytes are still unread.
    pub fn has_peer_closed(&self) -> bool {
        self.end.pipe.borrow().ways[1 - self.end.side].arrived_ending != Ending::Open
    }
}

impl AsyncRead for SimReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.end.pipe.borrow_mut();
        match pipe.read(self.end.side, target) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pipe.ways[1 - self.end.side].reader = Some(context.waker().clone());
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }
}

impl AsyncWrite for SimWriteHalf {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.end.pipe.borrow_mut().ways[self.end.side].writer = Some(context.waker().clone());
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// Nothing waits here: accepted bytes are in transit.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down();
        Poll::Ready(Ok(()))
    }
}

impl SimLink {
    /// From now on nothing arrives in either direction: no bytes, no end, no reset. Writers continue until
    /// the buffers are full.
    pub fn hold(&self) {
        self.pipe.borrow_mut().ways.iter_mut().for_each(|way| way.is_held = true);
    }

    /// Delivers everything that was held.
    pub fn release(&self) {
        let mut pipe = self.pipe.borrow_mut();
        for side in 0..2 {
            pipe.ways[side].is_held = false;
            pipe.deliver(side);
        }
    }

    /// Breaks the connection: both sides get a reset, and bytes in transit are lost.
    pub fn reset(&self) {
        let mut pipe = self.pipe.borrow_mut();
        for side in 0..2 {
            let way = &mut pipe.ways[side];
            way.is_held = false;
            way.bytes.truncate(way.arrived);
        }
        for side in 0..2 {
            pipe.end(side, Ending::Reset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_executor::SimExecutor;
    use std::io::ErrorKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// The result of a read; `None` if it would wait.
    fn read(socket: &mut SimReadHalf, room: usize) -> Option<Result<Vec<u8>, ErrorKind>> {
        let mut space = vec![0; room];
        let mut target = ReadBuf::new(&mut space);
        match Pin::new(socket).poll_read(&mut Context::from_waker(Waker::noop()), &mut target) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => Some(Ok(target.filled().to_vec())),
            Poll::Ready(Err(error)) => Some(Err(error.kind())),
        }
    }

    fn write(socket: &SimWriteHalf, bytes: &[u8]) -> Result<usize, ErrorKind> {
        socket.try_write(bytes).map_err(|error| error.kind())
    }

    fn bytes(text: &str) -> Option<Result<Vec<u8>, ErrorKind>> {
        Some(Ok(text.as_bytes().to_vec()))
    }

    const RESET: Option<Result<Vec<u8>, ErrorKind>> = Some(Err(ErrorKind::ConnectionReset));

    #[test]
    fn a_full_pipe_takes_no_more_until_it_is_read() {
        let (client, mut server, _link) = pair(4);
        assert_eq!(read(&mut server.read, 9), None);
        assert_eq!(write(&client.write, b"abcdef"), Ok(4));
        assert_eq!(write(&client.write, b"ef"), Err(ErrorKind::WouldBlock));
        assert_eq!(read(&mut server.read, 3), bytes("abc"));
        assert_eq!(write(&client.write, b"ef"), Ok(2));
        assert_eq!(read(&mut server.read, 9), bytes("def"));
        assert_eq!(read(&mut server.read, 9), None);
        assert_eq!(write(&client.write, b""), Ok(0));
    }

    #[test]
    fn tasks_wait_for_room_and_for_bytes() {
        for seed in 0..20 {
            let executor = SimExecutor::seeded(seed);
            let (mut client, mut server, _link) = pair(7);
            let sent: Vec<u8> = (0..200).collect();
            let expected = sent.clone();
            drop(executor.spawn(async move {
                client.write.write_all(&sent).await.unwrap();
                client.write.shutdown().await.unwrap();
                // The other direction stays open.
                let mut answer = String::new();
                client.read.read_to_string(&mut answer).await.unwrap();
                assert_eq!(answer, "got it");
            }));
            let got = executor.spawn(async move {
                let mut got = Vec::new();
                server.read.read_to_end(&mut got).await.unwrap();
                server.write.write_all(b"got it").await.unwrap();
                got
            });
            executor.run_until_idle();
            assert_eq!((got.take(), executor.tasks()), (Some(expected), 0));
        }
    }

    #[test]
    fn what_was_sent_before_a_shutdown_is_read() {
        let (client, mut server, _link) = pair(9);
        write(&client.write, b"last").unwrap();
        assert!(!server.write.has_peer_closed());
        client.write.shut_down();
        assert!(server.write.has_peer_closed());
        assert_eq!(write(&client.write, b"x"), Err(ErrorKind::BrokenPipe));
        assert_eq!(read(&mut server.read, 9), bytes("last"));
        assert_eq!((read(&mut server.read, 9), read(&mut server.read, 9)), (bytes(""), bytes("")));
        assert_eq!(write(&server.write, b"still"), Ok(5));
    }

    #[test]
    fn a_dropped_write_half_ends_its_way_only() {
        let (client, mut server, _link) = pair(9);
        let SimSocket { read: mut client_read, write: client_write } = client;
        drop(client_write);
        assert_eq!(read(&mut server.read, 9), bytes(""));
        write(&server.write, b"reply").unwrap();
        assert_eq!(read(&mut client_read, 9), bytes("reply"));
    }

    #[test]
    fn closing_with_everything_read_is_an_end_and_later_bytes_meet_a_reset() {
        let (client, mut server, _link) = pair(9);
        write(&client.write, b"quit").unwrap();
        drop(client);
        assert_eq!(read(&mut server.read, 9), bytes("quit"));
        assert_eq!(read(&mut server.read, 9), bytes(""));
        assert_eq!(write(&server.write, b"bye"), Ok(3), "the system takes them, and the peer refuses them");
        assert_eq!(write(&server.write, b"bye"), Err(ErrorKind::BrokenPipe));
        assert_eq!(read(&mut server.read, 9), bytes(""));
    }

    #[test]
    fn closing_with_unread_bytes_is_a_reset() {
        let (client, mut server, _link) = pair(9);
        write(&client.write, b"hello").unwrap();
        write(&server.write, b"unread").unwrap();
        drop(client);
        assert!(server.write.has_peer_closed());
        assert_eq!(read(&mut server.read, 9), bytes("hello"), "what had arrived is there");
        assert_eq!((read(&mut server.read, 9), read(&mut server.read, 9)), (RESET, bytes("")));
        assert_eq!(write(&server.write, b"x"), Err(ErrorKind::BrokenPipe));
    }

    #[test]
    fn a_waiting_task_learns_of_a_reset() {
        let executor = SimExecutor::new();
        let (mut client, mut server, link) = pair(2);
        let reading =
            executor.spawn(async move { client.read.read_u8().await.map_err(|error| error.kind()) });
        let writing =
            executor.spawn(async move { server.write.write_all(b"abc").await.map_err(|error| error.kind()) });
        link.hold();
        executor.run_until_idle();
        assert!(!reading.is_ended() && !writing.is_ended());
        link.reset();
        executor.run_until_idle();
        assert_eq!(reading.take(), Some(Err(ErrorKind::ConnectionReset)));
        assert_eq!(writing.take(), Some(Err(ErrorKind::ConnectionReset)));
    }

    #[test]
    fn what_is_held_arrives_later() {
        let (client, mut server, link) = pair(9);
        write(&client.write, b"a").unwrap();
        link.hold();
        write(&client.write, b"b").unwrap();
        client.write.shut_down();
        assert_eq!((read(&mut server.read, 9), read(&mut server.read, 9)), (bytes("a"), None));
        assert!(!server.write.has_peer_closed());
        link.release();
        assert!(server.write.has_peer_closed());
        assert_eq!((read(&mut server.read, 9), read(&mut server.read, 9)), (bytes("b"), bytes("")));
    }

    #[test]
    fn bytes_that_were_under_way_to_a_closed_socket_meet_a_reset() {
        let (client, mut server, link) = pair(9);
        link.hold();
        write(&server.write, b"late").unwrap();
        drop(client);
        assert_eq!(read(&mut server.read, 9), None);
        link.release();
        assert_eq!((read(&mut server.read, 9), read(&mut server.read, 9)), (bytes(""), bytes("")));
        assert_eq!(write(&server.write, b"x"), Err(ErrorKind::BrokenPipe));
    }
}
