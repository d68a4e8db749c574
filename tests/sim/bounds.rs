//! What a slow disk may cost: time, and no memory.

use super::process::{Process, World};
use super::settings::Settings;
use headwater::config::config::FlushPolicy;
use headwater::env::entropy::SeededEntropy;
use headwater::env::manual_clock::ManualClock;
use headwater::env::sim_executor::SimExecutor;
use headwater::env::sim_fs::SimFs;
use headwater::env::sim_pipe::SimSocket;
use headwater::model::limits::IN_FLIGHT_BYTES_MAX;
use headwater::model::time::TimeMs;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const CLIENTS: usize = 50;
const REQUESTS: usize = 40;
const VALUE_BYTES: usize = 100_000;

/// 50 clients send 200 MB together while a sync takes a second: what is in flight stays below its bound,
/// comes near it, and every request is answered.
#[test]
fn a_slow_disk_holds_clients_back_and_not_their_bytes() {
    let settings = Settings {
        partitions: 1,
        is_relaxed: false,
        flush: FlushPolicy::Thread,
        file_bytes: 64 << 20,
        checkpoint_bytes: 1 << 40,
        pipe_bytes: 64 << 10,
        events: false,
        ..Settings::draw(&SeededEntropy::new(1))
    };
    let clock = ManualClock::new(TimeMs(1_700_000_000_000));
    let disk = SimFs::new(1).with_clock(clock.clone());
    let world = World { executor: SimExecutor::new(), clock, disk, settings };
    let mut process = Process::start(&world, 1).expect("an empty disk");
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
