//! What a slow disk may cost: time, and no memory.

use super::process::{Process, World};
use super::settings::Settings;
use headwater::config::config::FlushPolicy;
use headwater::env::clock::Clock;
use headwater::env::entropy::SeededEntropy;
use headwater::env::manual_clock::ManualClock;
use headwater::env::sim_executor::SimExecutor;
use headwater::env::sim_fs::{SimFs, SyncScript};
use headwater::env::sim_pipe::SimSocket;
use headwater::model::limits::IN_FLIGHT_BYTES_MAX;
use headwater::model::time::TimeMs;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const CLIENTS: usize = 50;
const REQUESTS: usize = 40;
const VALUE_BYTES: usize = 100_000;

/// One partition, every commit synced, and nothing but what the clients do.
fn plain() -> Settings {
    Settings {
        partitions: 1,
        is_relaxed: false,
        flush: FlushPolicy::Auto,
        file_bytes: 64 << 20,
        checkpoint_bytes: 1 << 40,
        pipe_bytes: 64 << 10,
        prepares_next_file: false,
        events: false,
        ..Settings::draw(&SeededEntropy::new(1))
    }
}

/// A process on an empty disk.
fn started(settings: Settings) -> (World, Process) {
    let clock = ManualClock::new(TimeMs(1_700_000_000_000));
    let disk = SimFs::new(1).with_clock(clock.clone());
    let world = World { executor: SimExecutor::new(), clock, disk, settings };
    let process = Process::start(&world, 1).expect("an empty disk");
    (world, process)
}

/// 50 clients send 200 MB together while a sync takes a second: what is in flight stays below its bound,
/// comes near it, and every request is answered.
#[test]
fn a_slow_disk_holds_clients_back_and_not_their_bytes() {
    let (world, mut process) = started(Settings { flush: FlushPolicy::Thread, ..plain() });
    world.disk.set_sync_time(Duration::from_secs(1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            // The link stays: dropped, it would break the connection.
            let (socket, link) = process.connect();
            world.executor.spawn(async move {
                send_and_read(number, socket).await;
                link
            })
        })
        .collect();
    let mut most = 0;
    for _ in 0..10_000 {
        while world.executor.turn() {
            most = most.max(process.bytes_in_flight());
        }
        if clients.iter().all(|client| client.is_ended()) || world.clock.advance_to_next_timer().is_none() {
            break;
        }
    }
    assert!(clients.iter().all(|client| client.is_ended()), "some requests were not answered");
    assert!(most > IN_FLIGHT_BYTES_MAX / 2, "only {most} bytes were in flight: the bound was not tried");
    // The request that reaches the bound is taken whole.
    assert!(most < IN_FLIGHT_BYTES_MAX + 2 * VALUE_BYTES, "{most} bytes were in flight");
    process.kill(&world, false);
}

/// The disk is quick but for a slow sync now and then. After the first one, who reads during another does not wait
/// for it, and the syncs after it are waited for as before.
#[test]
fn slow_syncs_do_not_stall_everybody() {
    for writes_directly in [false, true] {
        let (world, mut process) = started(Settings { writes_directly, ..plain() });
        world.disk.set_sync_time(Duration::from_micros(100));
        let (mut writer, mut reader) = (process.connect(), process.connect());
        let took_ms = |socket: &mut SimSocket, request: &str, replies: usize| {
            let began_ms = world.clock.monotonic_ms();
            send(&world, socket, request);
            receive(&world, socket, replies);
            world.clock.monotonic_ms() - began_ms
        };
        assert!(took_ms(&mut writer.0, "SET k v\r\n", "+OK\r\n".len()) <= 1);
        let takes = Duration::from_millis(20);
        world.disk.script_sync(world.disk.syncs() + 1, SyncScript { takes, fails: false });
        assert!(took_ms(&mut writer.0, "SET k v\r\n", "+OK\r\n".len()) >= 20);
        let takes = Duration::from_secs(2);
        world.disk.script_sync(world.disk.syncs() + 1, SyncScript { takes, fails: false });
        let began_ms = world.clock.monotonic_ms();
        send(&world, &mut writer.0, "SET k w\r\n");
        assert!(took_ms(&mut reader.0, "GET k\r\n", "$1\r\nv\r\n".len()) <= 5, "the reader waits");
        assert!(world.clock.monotonic_ms() - began_ms <= 10);
        receive(&world, &mut writer.0, "+OK\r\n".len());
        let took = world.clock.monotonic_ms() - began_ms;
        assert!((2000..2010).contains(&took), "acknowledged after {took} ms");
        assert!(took_ms(&mut writer.0, "SET k x\r\n", "+OK\r\n".len()) <= 1);
        process.kill(&world, false);
    }
}

/// Who is ready before a sync shares it, though the engine was awake first.
#[test]
fn a_sync_is_shared_by_all_who_are_ready() {
    let (world, mut process) = started(plain());
    world.disk.set_sync_time(Duration::from_micros(100));
    let mut clients: Vec<_> = (0..20).map(|_| process.connect()).collect();
    // Until something was synced, nobody knows what a sync costs.
    send(&world, &mut clients[0].0, "SET k v\r\n");
    receive(&world, &mut clients[0].0, "+OK\r\n".len());
    let syncs = world.disk.syncs();
    let mut context = Context::from_waker(Waker::noop());
    for (client, _) in &mut clients {
        let sent = Pin::new(&mut client.write).poll_write(&mut context, b"SET k v\r\n");
        assert!(sent.is_ready());
        // One turn: the engine is awake before the next request comes.
        world.executor.turn();
    }
    for (client, _) in &mut clients {
        receive(&world, client, "+OK\r\n".len());
    }
    assert!(world.disk.syncs() - syncs <= 3, "{} syncs for 20 requests", world.disk.syncs() - syncs);
    process.kill(&world, false);
}

/// Lets everybody run until nobody can.
fn run_now(world: &World) {
    while world.executor.turn() {}
}

fn send(world: &World, socket: &mut SimSocket, request: &str) {
    let mut context = Context::from_waker(Waker::noop());
    let sent = Pin::new(&mut socket.write).poll_write(&mut context, request.as_bytes());
    assert!(matches!(sent, Poll::Ready(Ok(len)) if len == request.len()), "{sent:?}");
    run_now(world);
}

/// Time passes until so many bytes have come.
fn receive(world: &World, socket: &mut SimSocket, bytes: usize) {
    let mut context = Context::from_waker(Waker::noop());
    let mut left = bytes;
    loop {
        let mut memory = [0; 4096];
        let mut target = ReadBuf::new(&mut memory);
        match Pin::new(&mut socket.read).poll_read(&mut context, &mut target) {
            Poll::Ready(result) => result.expect("the connection stands"),
            Poll::Pending => {
                world.clock.advance_to_next_timer().expect("a reply comes");
                run_now(world);
            }
        }
        left -= target.filled().len();
        if left == 0 {
            return;
        }
    }
}

/// Writes all requests as fast as they are taken, and reads until all are answered.
async fn send_and_read(number: usize, socket: SimSocket) {
    let SimSocket { mut read, mut write } = socket;
    let value = "v".repeat(VALUE_BYTES);
    let one = format!("*3\r\n$3\r\nSET\r\n$3\r\nk{number:02}\r\n${VALUE_BYTES}\r\n{value}\r\n");
    let (mut request, mut sent, mut replied) = (0, 0, 0);
    poll_fn(|context| {
        while request < REQUESTS {
            let Poll::Ready(taken) = Pin::new(&mut write).poll_write(context, &one.as_bytes()[sent..]) else {
                break;
            };
            sent += taken.expect("the connection stands");
            if sent == one.len() {
                (request, sent) = (request + 1, 0);
            }
        }
        loop {
            let mut bytes = [0; 4096];
            let mut target = ReadBuf::new(&mut bytes);
            let Poll::Ready(result) = Pin::new(&mut read).poll_read(context, &mut target) else {
                return Poll::Pending;
            };
            result.expect("the connection stands");
            assert!(target.filled().iter().all(|byte| b"+OK\r\n".contains(byte)), "{:?}", target.filled());
            replied += target.filled().len();
            if replied == REQUESTS * "+OK\r\n".len() {
                return Poll::Ready(());
            }
        }
    })
    .await;
}
