//! The loads that `redis-benchmark` cannot make; `benches/compare` starts this program.
//!
//! ```text
//! load fill      PORT STREAM ENTRIES BYTES       adds entries of one field, pipelined
//! load group     PORT STREAM CLIENTS COUNT       reads the whole stream as one group, each client XREADGROUP then XACK
//! load subscribe PORT CHANNEL SUBSCRIBERS        subscribes and reads until standard input ends
//! ```
//!
//! One line of JSON at the end. One thread: load generator and server are to have a core each.

use std::cell::RefCell;
use std::io::Write as _;
use std::process::exit;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Err(error) = LocalSet::new().block_on(&runtime, run(&args)) {
        eprintln!("load: {error}");
        exit(1);
    }
    // The subscribers' reader of standard input is a blocked thread; there is nothing left to wait for.
    exit(0);
}

async fn run(args: &[String]) -> Result<()> {
    let number = |at: usize| -> Result<usize> { Ok(args.get(at).ok_or("too few arguments")?.parse()?) };
    let port = u16::try_from(number(1)?)?;
    let name = args.get(2).ok_or("too few arguments")?;
    match args[0].as_str() {
        "fill" => fill(port, name, number(3)?, number(4)?).await,
        "group" => read_as_group(port, name, number(3)?, number(4)?).await,
        "subscribe" => subscribe(port, name, number(3)?).await,
        other => Err(format!("no load named '{other}'").into()),
    }
}

/// Requests written ahead of their replies by `fill`.
const FILL_PIPELINE: usize = 200;

async fn fill(port: u16, stream: &str, entries: usize, bytes: usize) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    let mut text = Text(0x9e37_79b9_7f4a_7c15);
    let mut left = entries;
    while left > 0 {
        let now = left.min(FILL_PIPELINE);
        let mut batch = Vec::new();
        for _ in 0..now {
            batch.extend_from_slice(&request(&["XADD", stream, "*", "f", &text.next(bytes)]));
        }
        connection.socket.write_all(&batch).await?;
        for _ in 0..now {
            connection.reply().await?;
        }
        left -= now;
    }
    Ok(())
}

/// Letters without a pattern that a compressor would find (xorshift64); never zero.
struct Text(u64);

impl Text {
    fn next(&mut self, bytes: usize) -> String {
        let mut letter = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            char::from(b'!' + (self.0 >> 32) as u8 % 90)
        };
        (0..bytes).map(|_| letter()).collect()
    }
}

async fn read_as_group(port: u16, stream: &str, clients: usize, count: usize) -> Result<()> {
    const GROUP: &str = "readers";
    let mut first = Connection::open(port).await?;
    first.socket.write_all(&request(&["XGROUP", "CREATE", stream, GROUP, "0"])).await?;
    first.reply().await?;

    let read_times = Rc::new(RefCell::new(Vec::<Duration>::new()));
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(port).await?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(index, mut connection)| {
            let read_times = read_times.clone();
            let consumer = format!("consumer-{index}");
            let read = request(&[
                "XREADGROUP",
                "GROUP",
                GROUP,
                &consumer,
                "COUNT",
                &count.to_string(),
                "STREAMS",
                stream,
                ">",
            ]);
            let stream = stream.to_owned();
            tokio::task::spawn_local(async move {
                let mut acknowledged = 0usize;
                loop {
                    let sent = Instant::now();
                    connection.socket.write_all(&read).await.map_err(|error| error.to_string())?;
                    let reply = connection.reply().await.map_err(|error| error.to_string())?;
                    let ids = entry_ids(&reply);
                    if ids.is_empty() {
                        return Ok::<usize, String>(acknowledged);
                    }
                    read_times.borrow_mut().push(sent.elapsed());
                    let mut args = vec!["XACK", &stream, GROUP];
                    args.extend(ids.iter().map(String::as_str));
                    connection.socket.write_all(&request(&args)).await.map_err(|error| error.to_string())?;
                    match connection.reply().await.map_err(|error| error.to_string())? {
                        Value::Integer(n) if n == ids.len() as i64 => acknowledged += ids.len(),
                        other => {
                            return Err(format!("XACK of {} ids was answered with {other:?}", ids.len()));
                        }
                    }
                }
            })
        })
        .collect();
    let mut entries = 0;
    for task in tasks {
        entries += task.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut times = read_times.borrow_mut();
    times.sort();
    let quantile = |q: f64| {
        times
            .get(((times.len() as f64 - 1.0) * q).max(0.0) as usize)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    // A read and its acknowledgement count as two requests.
    let requests = times.len() * 2;
    println!(
        r#"{{"requests": {requests}, "entries": {entries}, "seconds": {seconds:.6}, "rps": {:.1}, "p50_ms": {:.3}, "p99_ms": {:.3}}}"#,
        requests as f64 / seconds,
        quantile(0.5),
        quantile(0.99),
    );
    Ok(())
}

async fn subscribe(port: u16, channel: &str, subscribers: usize) -> Result<()> {
    let bytes_read = Rc::new(RefCell::new(0u64));
    for _ in 0..subscribers {
        let mut connection = Connection::open(port).await?;
        connection.socket.write_all(&request(&["SUBSCRIBE", channel])).await?;
        connection.reply().await?;
        let bytes_read = bytes_read.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = connection.socket.read(&mut buffer).await {
                *bytes_read.borrow_mut() += n as u64;
            }
        });
    }
    println!("ready");
    std::io::stdout().flush()?;
    // Ends with standard input.
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {}
        drop(ended);
    });
    _ = end.await;
    println!(r#"{{"bytes": {}}}"#, bytes_read.borrow());
    Ok(())
}

fn request(args: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    out
}

/// A reply under RESP2.
#[derive(Debug)]
enum Value {
    Integer(i64),
    Text(String),
    Array(Vec<Value>),
    Null,
}

/// Ids of a reply to XREADGROUP over one stream: `[[name, [[id, fields], …]]]`.
fn entry_ids(reply: &Value) -> Vec<String> {
    let Value::Array(streams) = reply else { return Vec::new() };
    let Some(Value::Array(stream)) = streams.first() else { return Vec::new() };
    let Some(Value::Array(entries)) = stream.get(1) else { return Vec::new() };
    let id = |entry: &Value| match entry {
        Value::Array(parts) => match parts.first() {
            Some(Value::Text(id)) => Some(id.clone()),
            _ => None,
        },
        _ => None,
    };
    entries.iter().filter_map(id).collect()
}

struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are already part of a reply given out.
    consumed: usize,
}

impl Connection {
    async fn open(port: u16) -> Result<Connection> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        Ok(Connection { socket, buffer: Vec::with_capacity(16 * 1024), consumed: 0 })
    }

    /// The next reply; an error reply is an error.
    async fn reply(&mut self) -> Result<Value> {
        loop {
            let mut at = self.consumed;
            if let Some(value) = parse(&self.buffer, &mut at)? {
                self.consumed = at;
                if self.consumed == self.buffer.len() {
                    self.buffer.clear();
                    self.consumed = 0;
                }
                return Ok(value);
            }
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }
}

/// One reply from `bytes` at `at`; `None`: not all of it is there yet.
fn parse(bytes: &[u8], at: &mut usize) -> Result<Option<Value>> {
    let rest = &bytes[*at..];
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&rest[1..end])?;
    let kind = rest[0];
    *at += end + 2;
    match kind {
        b'+' => Ok(Some(Value::Text(line.to_owned()))),
        b'-' => Err(line.to_owned().into()),
        b':' => Ok(Some(Value::Integer(line.parse()?))),
        b'_' => Ok(Some(Value::Null)),
        b'$' if line == "-1" => Ok(Some(Value::Null)),
        b'$' => {
            let length: usize = line.parse()?;
            let Some(text) = bytes.get(*at..*at + length) else { return Ok(None) };
            if bytes.len() < *at + length + 2 {
                return Ok(None);
            }
            *at += length + 2;
            Ok(Some(Value::Text(String::from_utf8_lossy(text).into_owned())))
        }
        b'*' if line == "-1" => Ok(Some(Value::Null)),
        b'*' => {
            let mut values = Vec::new();
            for _ in 0..line.parse::<usize>()? {
                match parse(bytes, at)? {
                    Some(value) => values.push(value),
                    None => return Ok(None),
                }
            }
            Ok(Some(Value::Array(values)))
        }
        other => Err(format!("a reply of unknown type {:?}", char::from(other)).into()),
    }
}
