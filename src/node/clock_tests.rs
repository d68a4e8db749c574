//! A wall clock that steps does not disturb what is measured in time.

use crate::engine::testing::START;
use crate::node::testing::{Client, Stage};

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;

/// Milliseconds since the stage began, by an automatic id of a new stream.
fn id_ms(client: &Client, stream: &str) -> i64 {
    let told = client.ask(&format!("XADD {stream} * f v"));
    let id = told.split(' ').nth(1).unwrap_or_else(|| panic!("{told}"));
    id.split('-').next().unwrap().parse::<i64>().unwrap() - START.0 as i64
}

fn integer(told: &str) -> i64 {
    told.trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{told}"))
}

/// The idle time of the only pending entry.
fn idle_ms(client: &Client) -> i64 {
    let told = client.ask("XPENDING s g - + 9");
    integer(told.split(' ').nth(6).unwrap_or_else(|| panic!("{told}")))
}

fn info(client: &Client, field: &str) -> i64 {
    let told = client.ask("INFO server");
    let line = told.split(' ').find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    integer(line.unwrap_or_else(|| panic!("no {field} in {told}")))
}

fn deliver(client: &Client) {
    client.ask("XADD s 1-1 f v");
    client.ask("XGROUP CREATE s g 0");
    client.ask("XREADGROUP GROUP g ann STREAMS s >");
}

#[test]
fn a_key_dies_in_time_though_the_wall_clock_went_back() {
    let stage = Stage::new();
    let ann = stage.client();
    stage.clock.step_wall(-HOUR_MS);
    ann.ask("SET k v EX 2");
    stage.pass_ms(1000);
    assert!((999..=1001).contains(&integer(&ann.ask("PTTL k"))));
    stage.pass_ms(1100);
    stage.commit();
    assert_eq!((ann.ask("GET k"), ann.ask("DBSIZE")), ("$-1".into(), ":0".into()));
}

#[test]
fn a_key_lives_through_a_step_ahead_and_back() {
    let stage = Stage::new();
    let ann = stage.client();
    ann.ask("SET k v EX 100");
    for step_ms in [HOUR_MS, YEAR_MS] {
        stage.clock.step_wall(step_ms);
        stage.pass_ms(5000);
        ann.ask("SET l v EX 2");
        stage.clock.step_wall(-step_ms);
        stage.pass_ms(1000);
        assert_eq!(ann.ask("GET l"), "$1 v");
        stage.pass_ms(1100);
        assert_eq!(ann.ask("GET l"), "$-1");
    }
    assert!((85_790..=85_810).contains(&integer(&ann.ask("PTTL k"))));
}

#[test]
fn idle_times_count_on_and_claims_find() {
    for step_ms in [-HOUR_MS, HOUR_MS, YEAR_MS] {
        let stage = Stage::new();
        let ann = stage.client();
        deliver(&ann);
        stage.clock.step_wall(step_ms);
        stage.pass_ms(5000);
        assert!((4990..=5000).contains(&idle_ms(&ann)), "{}", idle_ms(&ann));
        let consumers = ann.ask("XINFO CONSUMERS s g");
        let idle = consumers.split("$4 idle ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!((4990..=5000).contains(&integer(idle)), "{consumers}");
        assert_eq!(ann.ask("XAUTOCLAIM s g bob 6000 0 JUSTID"), "*3 $3 0-0 *0 *0");
        assert_eq!(ann.ask("XAUTOCLAIM s g bob 4900 0 JUSTID"), "*3 $3 0-0 *1 $3 1-1 *0");
    }
}

#[test]
fn a_blocked_read_with_claim_is_served_in_time() {
    for step_ms in [-HOUR_MS, YEAR_MS] {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        deliver(&ann);
        stage.clock.step_wall(step_ms);
        bob.send("XREADGROUP GROUP g bob BLOCK 0 CLAIM 5000 STREAMS s >");
        stage.pass_ms(4900);
        stage.commit();
        assert_eq!(bob.told(), "");
        stage.pass_ms(200);
        stage.commit();
        assert!(bob.told().contains("1-1"));
    }
}

#[test]
fn an_idempotent_id_is_forgotten_in_time() {
    let stage = Stage::with(|config| config.stream_idmp_duration = 2);
    let ann = stage.client();
    stage.clock.step_wall(-HOUR_MS);
    let add = "XADD s IDMP p 7 * f v";
    let first = ann.ask(add);
    stage.pass_ms(1000);
    assert_eq!(ann.ask(add), first);
    stage.pass_ms(1100);
    assert_ne!(ann.ask(add), first);
}

#[test]
fn a_glitch_of_a_year_leaves_no_trace_in_ids() {
    let stage = Stage::new();
    let ann = stage.client();
    stage.clock.step_wall(YEAR_MS);
    stage.pass_ms(5000);
    assert_eq!(id_ms(&ann, "during"), 5000);
    assert_eq!(info(&ann, "log_time_ahead_ms"), -YEAR_MS);
    assert!((3590..=3600).contains(&info(&ann, "wall_clock_believed_in_seconds")));
    stage.clock.step_wall(-YEAR_MS);
    stage.pass_ms(1000);
    assert_eq!(id_ms(&ann, "after"), 6000);
    assert_eq!(info(&ann, "log_time_ahead_ms"), 0);
    assert_eq!(info(&ann, "wall_clock_believed_in_seconds"), -1);
    assert_eq!(info(&ann, "wall_clock_steps"), 1);
}

#[test]
fn a_glitch_of_a_year_is_not_believed_by_a_start() {
    let stage = Stage::new();
    let ann = stage.client();
    ann.ask("SET k v EX 100");
    deliver(&ann);
    stage.clock.step_wall(YEAR_MS);
    let stage = stage.restart();
    let ann = stage.client();
    stage.pass_ms(5000);
    assert_eq!(id_ms(&ann, "during"), 5000);
    assert_eq!(idle_ms(&ann), 5000);
    stage.clock.step_wall(-YEAR_MS);
    let stage = stage.restart();
    let ann = stage.client();
    stage.pass_ms(1000);
    assert_eq!(id_ms(&ann, "after"), 6000);
    assert_eq!(ann.ask("PTTL k"), ":94000");
}

#[test]
fn time_goes_on_from_the_log_when_a_start_finds_the_wall_clock_behind() {
    let stage = Stage::new();
    let ann = stage.client();
    deliver(&ann);
    ann.ask("SET k v EX 10");
    stage.clock.step_wall(-HOUR_MS);
    let stage = stage.restart();
    let ann = stage.client();
    assert_eq!(info(&ann, "log_time_ahead_ms"), HOUR_MS.min(START.0 as i64));
    stage.pass_ms(5000);
    assert!((4990..=5000).contains(&idle_ms(&ann)), "{}", idle_ms(&ann));
    assert!((4990..=5000).contains(&id_ms(&ann, "new")));
    stage.pass_ms(5100);
    assert_eq!(ann.ask("GET k"), "$-1");
}

#[test]
fn a_start_counts_the_time_that_the_server_was_down() {
    let stage = Stage::new();
    let ann = stage.client();
    deliver(&ann);
    ann.ask("SET k v EX 10");
    stage.clock.advance(20_000);
    let stage = stage.restart();
    let ann = stage.client();
    assert_eq!((idle_ms(&ann), ann.ask("GET k")), (20_000, "$-1".into()));
}

#[test]
fn a_step_ahead_that_stays_is_believed_and_readers_are_told() {
    let stage = Stage::new();
    let (ann, bob) = (stage.client(), stage.client());
    deliver(&ann);
    ann.ask("SET k v EX 1800");
    bob.send("XREADGROUP GROUP g bob BLOCK 0 CLAIM 1800000 STREAMS s >");
    stage.clock.step_wall(HOUR_MS);
    stage.pass_ms(59_000);
    stage.commit();
    assert_eq!((bob.told(), ann.ask("GET k")), (String::new(), "$1 v".into()));
    stage.pass_ms(2000);
    stage.commit();
    assert_eq!(ann.ask("GET k"), "$-1");
    assert!(bob.told().contains("1-1"));
    assert_eq!(id_ms(&ann, "new"), HOUR_MS + 61_000);
}

#[test]
fn the_uptime_and_the_clock_are_those_of_the_clocks() {
    let stage = Stage::new();
    let ann = stage.client();
    stage.clock.step_wall(YEAR_MS);
    stage.pass_ms(7000);
    assert_eq!(info(&ann, "uptime_in_seconds"), 7);
    let told = ann.ask("TIME");
    assert_eq!(
        told.split(' ').nth(2),
        Some((START.0 as i64 + YEAR_MS + 7000) / 1000).map(|it| it.to_string()).as_deref()
    );
}
