//! The task of a connection: reads requests, executes them, sends output.
//!
//! Bytes are read into a buffer of the frontend and executed from there; only the rest of an incomplete
//! request is copied into the connection's own buffer, so that an idle connection holds none.

use crate::engine::submission::Ending;
use crate::frontend::frontend::Frontend;
use crate::frontend::permissions;
use crate::frontend::response::Why;
use crate::model::limits::UNAUTHENTICATED_OUTPUT_BYTES_MAX;
use crate::model::reply::Reply;
use crate::net::connection::{Connection, Hold, InputUse};
use crate::net::socket::ReadHalf;
use crate::resp::reader::{Progress, RequestLimits, RequestReader};
use crate::server::dispatch;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

/// Maximum bytes per read.
pub const READ_BYTES: usize = 64 * 1024;

/// Requests of one connection are executed for about this long before other connections have their turn.
const TURN_NS: u64 = 5_000_000;

/// Input of one connection after which the bytes in flight are compared with their limit again.
const ROOM_CHECK_BYTES: usize = 4 * 1024;

/// Reads before other connections have their turn.
const READS_PER_TURN: usize = 4;

/// Maximum input that is read while nothing is executed: enough to notice that the client has gone, because
/// its end arrives only behind its bytes, and a full receive window keeps it out.
const HELD_INPUT_BYTES_MAX: usize = 32 * READ_BYTES;

/// Input buffers above this size are freed when they are empty.
const INPUT_BYTES_KEPT: usize = 16 * 1024;

pub struct Input {
    socket: ReadHalf,
    reader: RequestReader,
    /// Bytes that have arrived and were not executed; they start at `at`.
    buffer: Vec<u8>,
    at: usize,
    /// The client has closed its sending side; it may still read.
    ended: bool,
}

/// The result of a read.
#[derive(PartialEq, Eq)]
enum Arrival {
    Bytes,
    End,
    /// The connection is broken in both directions.
    Broken,
}

impl Input {
    pub fn new(socket: ReadHalf) -> Self {
        Input { socket, reader: RequestReader::new(), buffer: Vec::new(), at: 0, ended: false }
    }

    fn waiting(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Drops executed bytes once that is worth moving the rest.
    fn compact(&mut self) {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(INPUT_BYTES_KEPT);
        } else if self.at >= self.buffer.len() / 2 {
            self.buffer.drain(..self.at);
        } else {
            return;
        }
        self.at = 0;
    }
}

/// Serves a connection until either side closes it.
pub async fn serve(
    frontend: Rc<Frontend>,
    connection: Rc<Connection>,
    socket: ReadHalf,
    scratch: Rc<RefCell<Vec<u8>>>,
) {
    if connection.activity.is_handshaking.get()
        && let Err(error) = std::future::poll_fn(|context| connection.poll_handshake(context)).await
    {
        tracing::debug!(peer = %connection.peer, %error, "the TLS handshake failed");
        frontend.remove_connection(&connection);
        return;
    }
    let mut input = Input::new(socket);
    std::future::poll_fn(|context| poll(&frontend, &connection, &mut input, &scratch, context)).await;
    connection.say_goodbye();
    frontend.remove_connection(&connection);
}

fn poll(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    input: &mut Input,
    scratch: &RefCell<Vec<u8>>,
    context: &mut Context<'_>,
) -> Poll<()> {
    connection.set_waker(context.waker());
    let mut reads = 0;
    loop {
        if input.waiting() > 0 && connection.activity.hold.get() == Hold::None {
            let Input { reader, buffer, at, .. } = &mut *input;
            let free = buffer.capacity() - buffer.len();
            *at += execute_all(frontend, connection, reader, &buffer[*at..], free);
            input.compact();
        }
        if connection.is_finished() {
            // Closed at once: unsent output is dropped.
            return Poll::Ready(());
        }
        let sent = match connection.poll_flush(context) {
            Poll::Ready(Ok(sent)) => {
                frontend.metrics.note_output(sent);
                if sent > 0 {
                    connection.activity.last_active_ms.set(frontend.monotonic_ms());
                }
                true
            }
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => false,
        };
        let free = input.buffer.capacity() - input.buffer.len();
        connection.activity.input.set(InputUse { held: input.waiting(), free, arguments: 0 });
        if connection.is_finished() {
            return Poll::Ready(());
        }
        if cut_off_if_over_limit(frontend, connection) {
            return Poll::Ready(());
        }
        if connection.activity.resume.get() {
            hold_if_full(frontend, connection);
        }
        // Held requests continue when the earlier replies have been sent.
        let executable = input.waiting() > 0
            && connection.activity.hold.get() == Hold::None
            && can_execute(frontend, connection);
        // The input was not searched to its end, so it may begin with a complete request.
        if executable && sent && connection.activity.resume.replace(false) {
            yield_to_others(context);
            return Poll::Pending;
        }
        if input.ended && !is_awaited(frontend, connection) {
            return Poll::Ready(());
        }
        if !wants_input(frontend, connection, input, sent) {
            return Poll::Pending;
        }
        if reads == READS_PER_TURN {
            yield_to_others(context);
            return Poll::Pending;
        }
        reads += 1;
        match read(frontend, connection, input, scratch, context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Arrival::Bytes) => {}
            Poll::Ready(Arrival::End) => input.ended = true,
            Poll::Ready(Arrival::Broken) => return Poll::Ready(()),
        }
    }
}

/// Whether output is still owed to a client that has closed its sending side. It gets the replies to its
/// requests unless they wait for others (docs/reliability.md P11): a blocked read ends, and paused commands
/// are not executed.
fn is_awaited(frontend: &Frontend, connection: &Connection) -> bool {
    if connection.activity.hold.get() == Hold::Paused {
        return false;
    }
    let was_leaving =
        connection.blocked.borrow_mut().as_mut().map(|it| std::mem::replace(&mut it.is_leaving, true));
    if let Some(was_leaving) = was_leaving {
        // The entries that the read has found may be in flight.
        if !was_leaving {
            frontend.end_wait(connection, Ending::Disconnected);
        }
        return true;
    }
    if connection.activity.hold.get() == Hold::None && !connection.activity.resume.get() {
        connection.close_after_replies();
        return !connection.is_finished();
    }
    true
}

/// Schedules the next poll of the task after the runtime has checked all sockets. (A task that just wakes
/// itself is polled up to 61 times before that: others would wait for as many turns.)
fn yield_to_others(context: &mut Context<'_>) {
    // The scheduled poll survives the drop of the future.
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(context);
}

fn wants_input(frontend: &Frontend, connection: &Connection, input: &Input, sent: bool) -> bool {
    let held = connection.activity.hold.get() != Hold::None || !sent || !can_execute(frontend, connection);
    !connection.is_closing() && !input.ended && (!held || input.waiting() < HELD_INPUT_BYTES_MAX)
}

/// Whether pipeline, output and bytes in flight are all below their limits.
fn can_execute(frontend: &Frontend, connection: &Connection) -> bool {
    connection.has_room() && frontend.has_room()
}

/// Holds a connection whose request cannot be executed now, so that it is woken when that is possible.
fn hold_if_full(frontend: &Frontend, connection: &Rc<Connection>) {
    if connection.activity.hold.get() != Hold::None || can_execute(frontend, connection) {
        return;
    }
    if !connection.is_drained() {
        connection.activity.hold.set(Hold::UntilDrained);
    } else if !frontend.has_room() {
        frontend.hold_until_room(connection);
    }
}

/// Reads once and executes the complete requests.
fn read(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    input: &mut Input,
    scratch: &RefCell<Vec<u8>>,
    context: &mut Context<'_>,
) -> Poll<Arrival> {
    if input.waiting() > 0 {
        // The rest of a request is read right behind its beginning.
        let old = input.buffer.len();
        input.buffer.resize(old + READ_BYTES, 0);
        let mut target = ReadBuf::new(&mut input.buffer[old..]);
        let polled = input.socket.poll_read(context, &mut target);
        let read = target.filled().len();
        input.buffer.truncate(old + read);
        return match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if read > 0 => {
                note_input(frontend, connection, read);
                Poll::Ready(Arrival::Bytes)
            }
            Poll::Ready(Ok(())) => Poll::Ready(Arrival::End),
            Poll::Ready(Err(_)) => Poll::Ready(Arrival::Broken),
        };
    }
    let mut scratch = scratch.borrow_mut();
    let mut target = ReadBuf::new(&mut scratch);
    match input.socket.poll_read(context, &mut target) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(_)) => return Poll::Ready(Arrival::Broken),
    }
    let free = target.remaining();
    let bytes = target.filled();
    if bytes.is_empty() {
        return Poll::Ready(Arrival::End);
    }
    note_input(frontend, connection, bytes.len());
    let consumed = if connection.activity.hold.get() == Hold::None {
        execute_all(frontend, connection, &mut input.reader, bytes, free)
    } else {
        0
    };
    input.buffer.extend_from_slice(&bytes[consumed..]);
    Poll::Ready(Arrival::Bytes)
}

fn note_input(frontend: &Frontend, connection: &Connection, bytes: usize) {
    connection.activity.last_active_ms.set(frontend.monotonic_ms());
    frontend.metrics.note_input(bytes);
}

/// Executes the complete requests at the start of the bytes, as long as nothing holds the connection. Returns
/// the number of bytes executed. `free`: room behind them in their buffer.
fn execute_all(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    reader: &mut RequestReader,
    bytes: &[u8],
    free: usize,
) -> usize {
    let mut consumed = 0;
    connection.activity.input.set(InputUse { held: bytes.len(), free, arguments: 0 });
    let (mut has_room, mut checks_room_at) = (true, 0);
    let mut limits = request_limits(frontend, connection);
    connection.activity.resume.set(false);
    frontend.stopwatch.start();
    let started = frontend.stopwatch.mark();
    while consumed < bytes.len() && !connection.is_closing() {
        if frontend.stopwatch.since(started) >= TURN_NS {
            connection.activity.resume.set(true);
            break;
        }
        if consumed >= checks_room_at {
            frontend.note_growth();
            has_room = frontend.has_room();
            checks_room_at = consumed + ROOM_CHECK_BYTES;
        }
        if connection.activity.hold.get() != Hold::None || !has_room || !connection.has_room() {
            connection.activity.resume.set(true);
            hold_if_full(frontend, connection);
            break;
        }
        match reader.next(&bytes[consumed..], &limits) {
            Ok(Progress::Request { args, consumed: len }) => {
                let authenticated = limits.authenticated;
                match dispatch::request(frontend, connection, args) {
                    None => consumed += len,
                    Some(Why::NotDrained) => {
                        connection.activity.hold.set(Hold::UntilDrained);
                        connection.activity.resume.set(true);
                        break;
                    }
                    Some(Why::Paused) => {
                        frontend.pause.hold(connection);
                        connection.activity.resume.set(true);
                        break;
                    }
                }
                if !authenticated {
                    limits = request_limits(frontend, connection);
                }
            }
            Ok(Progress::Empty { consumed: len }) => consumed += len,
            Ok(Progress::Incomplete) => break,
            Err(error) => {
                tracing::debug!(peer = %connection.peer, %error, "protocol error");
                match error.reply() {
                    Some(reply) => connection.reply(&Reply::Error(reply)),
                    None => frontend.metrics.client_query_buffer_disconnections.add(1),
                }
                connection.close_after_replies();
                return bytes.len();
            }
        }
    }
    consumed
}

fn request_limits(frontend: &Frontend, connection: &Connection) -> RequestLimits {
    let config = frontend.context.config.borrow();
    RequestLimits {
        bulk_bytes_max: config.proto_max_bulk_len,
        query_buffer_bytes_max: config.client_query_buffer_limit,
        authenticated: permissions::is_let_in(frontend, &connection.session.borrow()),
        ..RequestLimits::default()
    }
}

/// Disconnects a client that does not read its replies; output is never silently skipped. Returns whether it
/// did.
fn cut_off_if_over_limit(frontend: &Frontend, connection: &Connection) -> bool {
    let bytes = connection.output_bytes();
    if bytes == 0 {
        return false;
    }
    let (authenticated, subscribed) = {
        let session = connection.session.borrow();
        (permissions::is_let_in(frontend, &session), session.subscriptions > 0)
    };
    if authenticated {
        return frontend.connections.cut_off_if_over_limit(connection, subscribed);
    }
    let over = bytes > UNAUTHENTICATED_OUTPUT_BYTES_MAX;
    if over {
        frontend.connections.cut_off(connection);
    }
    over
}

#[cfg(test)]
mod tests {
    use crate::engine::port::Port;
    use crate::model::limits::{BATCH_BYTES_MAX, IN_FLIGHT_BYTES_MAX};
    use crate::node::testing::Stage;

    #[test]
    fn a_request_is_executed_when_its_last_byte_has_come() {
        let ann = Stage::new().client();
        for byte in "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r".chars() {
            ann.send_bytes(&byte.to_string());
            assert_eq!(ann.told(), "");
        }
        ann.send_bytes("\nPING");
        assert_eq!(ann.told(), "$2 hi");
        ann.send_bytes("\r\n");
        assert_eq!(ann.told(), "+PONG");
    }

    #[test]
    fn nothing_behind_a_protocol_error_is_executed() {
        let ann = Stage::new().client();
        let told = ann.ask("PING\n*1\nPING");
        assert_eq!(told, "+PONG -ERR Protocol error: expected '$', got 'P'");
        assert!(ann.is_closed());
    }

    #[test]
    fn replies_are_owed_to_a_client_that_sends_nothing_more() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.send("SET a 1\nGET a");
        ann.end();
        assert!(!ann.is_closed());
        stage.commit();
        assert_eq!(ann.told(), "+OK $1 1");
        assert!(ann.is_closed());
    }

    #[test]
    fn a_paused_request_of_a_client_that_leaves_is_not_executed() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("CLIENT PAUSE 1000");
        ann.send("SET a 1");
        ann.end();
        assert!(ann.is_closed());
        stage.pass_ms(2000);
        assert_eq!(bob.ask("GET a"), "$-1");
    }

    #[test]
    fn a_pipeline_waits_for_its_blocked_read() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.send("XREAD BLOCK 0 STREAMS s $\nPING");
        assert_eq!(ann.told(), "");
        bob.ask("XADD s 1-1 f v");
        assert_eq!(ann.told(), "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v +PONG");
    }

    #[test]
    fn a_pipeline_of_a_client_that_reads_nothing_stops_and_goes_on() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask(&format!("SET a {}", "x".repeat(60_000)));
        let gets = 60;
        ann.send(&["GET a"; 60].join("\n"));
        assert!(ann.connection.output_bytes() < 2 * crate::model::limits::OUTPUT_PAUSE_BYTES);
        let mut told = String::new();
        loop {
            match ann.told() {
                more if more.is_empty() => break,
                more => told.push_str(&more),
            }
        }
        assert_eq!(told.matches("$60000").count(), gets);
    }

    #[test]
    fn no_setting_lets_in_a_request_that_no_record_can_hold() {
        let ann = Stage::new().client();
        let refused = ann.ask("CONFIG SET proto-max-bulk-len 3gb");
        assert!(refused.ends_with("argument must be between 1048576 and 2080374784 inclusive"), "{refused}");
        assert!(
            ann.ask("CONFIG SET client-query-buffer-limit 3gb").contains("between 1048576 and 2080374784")
        );
        let most = "2080374784";
        ann.ask(&format!("CONFIG SET proto-max-bulk-len {most} client-query-buffer-limit {most}"));
        ann.send_bytes("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2200000000\r\n");
        assert_eq!(ann.told(), "-ERR Protocol error: invalid bulk length");
        assert!(ann.is_closed());
    }

    #[test]
    fn a_transaction_that_no_record_can_hold_is_refused_and_the_server_goes_on() {
        let stage = Stage::new();
        let ann = stage.client();
        let Port::Here(engine) = &stage.frontend.port else { panic!("it is on this thread") };
        engine.borrow_mut().set_bytes_max(BATCH_BYTES_MAX, 1000);
        let value = "v".repeat(600);
        assert_eq!(ann.ask(&format!("SET a {value}")), "+OK");
        let told = ann.ask(&format!("MULTI\nSET a {value}\nSET b {value}\nEXEC"));
        assert!(told.starts_with("+OK +QUEUED +QUEUED -ERR the request or transaction takes 12"), "{told}");
        // The keys that a transaction watches stand in its record.
        let keys: Vec<String> = (0..50).map(|number| format!("a-long-name-of-a-key-{number}")).collect();
        let told = ann.ask(&format!("WATCH {}\nMULTI\nSET b 1\nEXEC", keys.join(" ")));
        assert!(told.starts_with("+OK +OK +QUEUED -ERR the request or transaction takes"), "{told}");
        assert_eq!(ann.ask(&format!("SET b {value}{value}\nEXISTS a b\nSET b 1")).matches("-ERR").count(), 1);
        assert_eq!(ann.ask("EXISTS a b\nGET b"), ":2 $1 1");
    }

    #[test]
    fn nobody_s_requests_are_executed_while_too_much_is_in_flight() {
        let stage = Stage::new();
        let ann = stage.client();
        stage.fill(IN_FLIGHT_BYTES_MAX);
        ann.send("PING");
        assert_eq!(ann.told(), "");
        stage.commit();
        assert_eq!(ann.told(), "+PONG");
    }
}
