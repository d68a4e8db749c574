//! Periodic work of a frontend: closes connections that are idle, late or too large, ends CLIENT PAUSE,
//! samples statistics.

use crate::engine::upkeep::Every;
use crate::frontend::frontend::Frontend;
use crate::frontend::permissions;
use crate::net::connection::Hold;
use std::rc::Rc;
use std::time::Duration;

/// Interval between samples of the rates in INFO (Redis `run_with_period(100)`).
const SAMPLE_MS: u64 = 100;

/// Interval between checks of every connection.
const LOOK_MS: u64 = 1000;

/// A client that must log in and does not is disconnected after this time (docs/reliability.md P3).
const LOGIN_TIMEOUT_MS: u64 = 60_000;

/// Limit of the TLS handshake: until then a client costs a descriptor and sends no requests.
const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// Maximum wait of a closing connection for a client that does not read the remaining output.
const LINGER_MS: u64 = 10_000;

/// Ticks `hz` times a second. Less frequent jobs run on the first tick after they fall due.
pub async fn run(frontend: Rc<Frontend>) {
    let (mut sample, mut look) = (Every::new(SAMPLE_MS), Every::new(LOOK_MS));
    loop {
        let hz = frontend.context.config.borrow().hz;
        frontend.context.clock.sleep(Duration::from_millis(1000 / u64::from(hz))).await;
        if frontend.cron_paused.get() {
            continue;
        }
        end_pause_if_over(&frontend);
        evict_clients(&frontend);
        let now_ms = frontend.monotonic_ms();
        if sample.take_due(now_ms) {
            frontend.metrics.tick(now_ms);
            frontend.stopwatch.adjust();
        }
        if look.take_due(now_ms) {
            close_idle_connections(&frontend);
        }
    }
}

/// Sends output queued outside of deliveries: messages of subscriptions.
pub async fn run_flushes(frontend: Rc<Frontend>) {
    loop {
        frontend.connections.flush_due.notified().await;
        frontend.connections.flush();
    }
}

fn end_pause_if_over(frontend: &Frontend) {
    let until_ms = frontend.pause.until_ms();
    if until_ms != 0 && frontend.monotonic_ms() >= until_ms {
        frontend.pause.end();
        frontend.tell_pause();
    }
}

/// Closes the largest clients while all of them together exceed `maxmemory-clients` (Redis 7.0
/// `evictClients`; docs/reliability.md P3, M1). CLIENT NO-EVICT exempts a client.
fn evict_clients(frontend: &Frontend) {
    let limit = frontend.context.config.borrow().maxmemory_clients;
    if limit == 0 {
        return;
    }
    let connections = frontend.connections.all();
    let open = || connections.values().filter(|connection| !connection.is_closing());
    let mut total: usize = open().map(|connection| frontend.client_memory(connection)).sum();
    if total as u64 <= limit {
        return;
    }
    let mut largest: Vec<_> = open()
        .filter(|connection| !connection.session.borrow().no_evict)
        .map(|connection| (frontend.client_memory(connection), connection))
        .collect();
    largest.sort_unstable_by_key(|(bytes, connection)| (std::cmp::Reverse(*bytes), connection.id.number));
    for (bytes, connection) in largest {
        if total as u64 <= limit {
            return;
        }
        tracing::warn!(peer = %connection.peer, bytes, "clients take more than maxmemory-clients; closing the largest");
        connection.close_unanswered();
        frontend.metrics.evicted_clients.add(1);
        total -= bytes;
    }
}

fn close_idle_connections(frontend: &Frontend) {
    let now_ms = frontend.monotonic_ms();
    let timeout_ms = frontend.context.config.borrow().timeout_seconds.saturating_mul(1000);
    for connection in frontend.connections.all().values() {
        let session = connection.session.borrow();
        let (subscribed, is_monitoring) = (session.subscriptions > 0, session.is_monitoring);
        let waiting = connection.blocked.borrow().is_some();
        let idle_ms = now_ms.saturating_sub(connection.activity.last_active_ms.get());
        let login_is_late = !permissions::is_let_in(frontend, &session) && idle_ms > LOGIN_TIMEOUT_MS;
        drop(session);
        // Redis never times out subscribers, monitors and blocked clients, including clients held by a pause
        // (`clientsCronHandleTimeout`).
        let is_expected_to_be_idle =
            subscribed || waiting || connection.activity.hold.get() == Hold::Paused || is_monitoring;
        let idle_too_long = timeout_ms > 0 && idle_ms > timeout_ms && !is_expected_to_be_idle;
        let age_ms = now_ms.saturating_sub(connection.activity.created_at_ms);
        let handshake_is_late = connection.activity.is_handshaking.get() && age_ms > HANDSHAKE_TIMEOUT_MS;
        let lingers = connection.is_closing() && idle_ms > LINGER_MS;
        // A client that sent much behind its blocked read is not read any further, so its end is detected
        // only here.
        let has_left = waiting && connection.has_peer_closed();
        if idle_too_long || login_is_late || handshake_is_late || lingers || has_left {
            tracing::debug!(peer = %connection.peer, idle_ms, "closing idle connection");
            connection.close();
        } else {
            frontend.connections.cut_off_if_over_limit(connection, subscribed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    #[test]
    fn idle_clients_are_closed_and_those_that_wait_are_not() {
        let stage = Stage::with(|config| config.timeout_seconds = 5);
        let idle = stage.client();
        let waiting = ["SUBSCRIBE a", "MONITOR", "XREAD BLOCK 0 STREAMS s $"].map(|request| {
            let client = stage.client();
            client.send(request);
            client
        });
        stage.pass_ms(5000);
        assert!(!idle.is_closed());
        stage.pass_ms(2000);
        assert!(idle.is_closed());
        assert!(waiting.iter().all(|client| !client.is_closed()));
    }

    #[test]
    fn a_login_has_a_minute() {
        let stage = Stage::with(|config| config.requirepass = "secret".into());
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("AUTH secret");
        stage.pass_ms(LOGIN_TIMEOUT_MS);
        assert!(!bob.is_closed());
        stage.pass_ms(2 * LOOK_MS);
        assert!(bob.is_closed() && !ann.is_closed());
    }

    #[test]
    fn a_pause_ends_by_itself_and_what_it_held_is_executed() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("CLIENT PAUSE 1000 WRITE");
        assert_eq!(ann.ask("GET a\nSET a 1"), "$-1");
        stage.pass_ms(900);
        stage.commit();
        assert_eq!(ann.told(), "");
        stage.pass_ms(200);
        stage.commit();
        assert_eq!(ann.told(), "+OK");
        assert!(!stage.frontend.pause.is_begun());
    }

    #[test]
    fn the_largest_client_goes_first_unless_it_is_exempt() {
        let stage = Stage::new();
        let (small, large, exempt) = (stage.client(), stage.client(), stage.client());
        exempt.ask("CLIENT NO-EVICT ON");
        for (client, bytes) in [(&small, 1_000), (&large, 20_000), (&exempt, 30_000)] {
            client.ask(&format!("MULTI\nSET a {}", "x".repeat(bytes)));
        }
        stage.frontend.context.config.borrow_mut().maxmemory_clients = 45_000;
        stage.pass_ms(1000);
        assert!(large.is_closed() && !small.is_closed() && !exempt.is_closed());
        assert_eq!(stage.frontend.metrics.evicted_clients.get(), 1);
    }

    #[test]
    fn a_closing_client_that_reads_nothing_is_waited_for_a_while() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask(&format!("SET a {}", "x".repeat(60_000)));
        ann.send("GET a\nGET a\nQUIT");
        stage.pass_ms(LINGER_MS);
        assert!(!ann.is_closed());
        stage.pass_ms(2 * LOOK_MS);
        assert!(ann.is_closed());
    }
}
