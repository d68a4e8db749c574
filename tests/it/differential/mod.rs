//! Random sequences of commands on Headwater and on Redis 7.0: every reply must be equal, except for the
//! differences in `difference`, each with its reason (compat/differences.md lists them for users).
//!
//! HEADWATER_DIFF_SEQUENCES and HEADWATER_SEED select number and seed, HEADWATER_DIFF_FIRST leaves out those
//! before. A mismatch is shortened while it still differs, then printed with both servers' replies.

mod difference;
mod dumped;
mod events;
mod generate;
mod generate_keys;
mod generate_server;
mod generate_streams;
mod partitioned;
mod rows;
mod run;

use crate::support::notation::join;
use crate::support::random::{Random, from_environment};
use crate::support::reference::redis_server;
use crate::support::server::{Server, binary_under_test};
use crate::support::value::Value;
use generate::{Common, Sequence};
use run::{Outcome, Pair, Verdict};

pub const RESP2: u8 = 2;
pub const RESP3: u8 = 3;

/// Sequences per protocol unless HEADWATER_DIFF_SEQUENCES is set: 10,000 in all.
const SEQUENCES: usize = 5_000;

#[test]
fn same_replies_as_redis_resp2() {
    compare(RESP2, &[], from_environment("HEADWATER_DIFF_SEQUENCES", SEQUENCES));
}

#[test]
fn same_replies_as_redis_resp3() {
    compare(RESP3, &[], from_environment("HEADWATER_DIFF_SEQUENCES", SEQUENCES));
}

/// Compares a server with these flags to Redis.
pub fn compare(protocol: u8, flags: &[&str], sequences: usize) {
    let Some(redis) = redis_server() else { return };
    // The sequences contain wrong passwords, and Redis has no delay after failed logins.
    let flags = [flags, &["--login-failures-free", "0"]].concat();
    let under_test = Server::of(binary_under_test(), &flags);
    let reference = Server::of(redis, &["--appendonly", "no"]);
    let is_partitioned = under_test.is_partitioned();
    let mut random = Random::from_environment(&format!("differential RESP{protocol}"));
    let common = common_commands(&under_test, &reference);
    let mut pair = Pair::new(&under_test, &reference, protocol, &common);
    let mut differing = Vec::new();
    let first = from_environment("HEADWATER_DIFF_FIRST", 0);
    for number in 0..sequences {
        let mut sequence = Sequence::random(&mut random, &common);
        if number < first {
            continue;
        }
        if is_partitioned {
            sequence = match number % 4 {
                0 => partitioned::in_many_slots(sequence),
                _ => partitioned::in_one_slot(sequence),
            };
        }
        let outcome = pair.play(&sequence);
        if let Verdict::Differs = outcome.verdict {
            differing.push(format!("sequence {number} differs\n{}", shortest(&mut pair, sequence, outcome)));
            if differing.len() == SHOWN {
                break;
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Most differing sequences that are printed.
const SHOWN: usize = 5;

/// Full names of the commands that both servers know.
fn common_commands(left: &Server, right: &Server) -> Common {
    let names = |server: &Server| -> Common {
        let reply = server.connect().line("COMMAND LIST FILTERBY PATTERN *");
        reply.elements().iter().map(Value::text).collect()
    };
    names(left).intersection(&names(right)).cloned().collect()
}

/// Commands that both know but that are not compared, with the reason.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("acl|deluser", "acl::differential has sequences of its own"),
    ("acl|dryrun", "as ACL DELUSER"),
    ("acl|genpass", "chance decides"),
    ("acl|list", "since 7.2 sanitize-payload is told of every user"),
    ("acl|load", "reads a file"),
    ("acl|log", "its entries tell times and clients"),
    ("acl|save", "writes a file"),
    ("acl|setuser", "as ACL DELUSER"),
    ("bgrewriteaof", "Redis forks; what it answers depends on whether it is done with the last one"),
    ("bgsave", "as BGREWRITEAOF"),
    ("config|rewrite", "writes a file of each server's own kind"),
    ("debug", "each server has its own"),
    ("dump", "each writes its own encoding; `dumped` holds what comes of them against each other"),
    ("monitor", "what it shows of the other commands depends on when they arrive"),
    ("shutdown", "ends the server; its refusals are compared"),
];

/// The comparison covers every command that both servers know, except those named with a reason.
#[test]
fn all_commands_that_both_know_are_compared() {
    let Some(redis) = redis_server() else { return };
    let common = common_commands(&Server::start(), &Server::of(redis, &["--appendonly", "no"]));
    assert!(common.len() > 140, "only {} commands in common", common.len());
    let mut random = Random::new(1);
    let mut left: Common = common.clone();
    for _ in 0..20_000 {
        for step in Sequence::random(&mut random, &common).steps {
            left.remove(&generate::full_name(&step.command));
        }
    }
    // A container alone is refused; the comparison covers its sub-commands.
    left.retain(|name| !common.iter().any(|other| other.starts_with(&format!("{name}|"))));
    left.retain(|name| !NOT_COMPARED.iter().any(|(excepted, _)| name == excepted));
    assert!(left.is_empty(), "no sequence has {left:?}");
    let unknown = NOT_COMPARED.iter().filter(|(name, _)| {
        !common.contains(*name) && !common.iter().any(|other| other.starts_with(&format!("{name}|")))
    });
    assert_eq!(
        unknown.map(|(name, _)| name).collect::<Vec<_>>(),
        <[&&str; 0]>::default(),
        "excepted for nothing"
    );
}

/// The shortest sequence that still differs, as a transcript of both servers; the original one if it did not
/// differ again.
fn shortest(pair: &mut Pair<'_>, mut sequence: Sequence, first: Outcome) -> String {
    let mut size = sequence.steps.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < sequence.steps.len() {
            let mut shorter = sequence.clone();
            let end = (start + size).min(shorter.steps.len());
            shorter.steps.drain(start..end);
            if matches!(pair.play(&shorter).verdict, Verdict::Differs) {
                sequence = shorter;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    let mut text = String::new();
    let mut outcome = pair.play(&sequence);
    if matches!(outcome.verdict, Verdict::Same) {
        text += "It differed only once:\n";
        outcome = first;
    }
    for exchange in outcome.exchanges {
        let commands: Vec<String> = exchange.commands.iter().map(|args| join(args)).collect();
        text += &format!("connection {}:\n> {}\n", exchange.connection, commands.join("\n> "));
        if exchange.left == exchange.right {
            text += &format!("both:\n{}\n", exchange.left.join("\n"));
        } else {
            text +=
                &format!("HEADWATER:\n{}\nREDIS:\n{}\n", exchange.left.join("\n"), exchange.right.join("\n"));
        }
    }
    text
}

/// Checks the generator and the comparison: Redis does not differ from Redis.
#[test]
fn redis_is_like_redis() {
    let Some(redis) = redis_server() else { return };
    let left = Server::of(redis.clone(), &["--appendonly", "no"]);
    let right = Server::of(redis, &["--appendonly", "no"]);
    let common = common_commands(&left, &right);
    for protocol in [RESP2, RESP3] {
        let mut random = Random::from_environment(&format!("Redis against Redis, RESP{protocol}"));
        let mut pair = Pair::new(&left, &right, protocol, &common);
        for number in 0..500 {
            let sequence = Sequence::random(&mut random, &common);
            let outcome = pair.play(&sequence);
            if let Verdict::Differs = outcome.verdict {
                panic!("sequence {number} differs\n{}", shortest(&mut pair, sequence, outcome));
            }
        }
    }
}

/// A real difference is found and shortened: one server has nodes of 10 entries, so `~` trims differently.
#[test]
fn a_distorted_server_is_found_out() {
    let Some(redis) = redis_server() else { return };
    let left = Server::of(redis.clone(), &["--appendonly", "no"]);
    let right = Server::of(redis, &["--appendonly", "no", "--stream-node-max-entries", "10"]);
    let mut random = Random::new(1);
    let common = common_commands(&left, &right);
    let mut pair = Pair::new(&left, &right, RESP2, &common);
    for _ in 0..3_000 {
        let sequence = Sequence::random(&mut random, &common);
        let outcome = pair.play(&sequence);
        if let Verdict::Differs = outcome.verdict {
            let text = shortest(&mut pair, sequence.clone(), outcome);
            assert!(
                text.contains('~') || text.contains("radix-tree"),
                "shortened to something else:\n{text}"
            );
            assert!(text.lines().count() < 400, "not shortened:\n{text}");
            return;
        }
    }
    panic!("3000 sequences did not show that one server has nodes of 10 entries");
}

/// Most generated commands are accepted: a run of error replies would compare nothing.
#[test]
fn most_commands_of_the_generator_succeed() {
    let Some(redis) = redis_server() else { return };
    let left = Server::of(redis.clone(), &["--appendonly", "no"]);
    let right = Server::of(redis, &["--appendonly", "no"]);
    let mut random = Random::new(7);
    let common = common_commands(&left, &right);
    let mut pair = Pair::new(&left, &right, RESP2, &common);
    let (mut errors, mut all) = (0, 0);
    for _ in 0..300 {
        for exchange in pair.play(&Sequence::random(&mut random, &common)).exchanges {
            all += exchange.left.len();
            errors += exchange.left.iter().filter(|line| line.starts_with("(error)")).count();
        }
    }
    assert!(errors * 100 < all * 40, "{errors} of {all} reply lines are errors");
    assert!(errors * 100 > all, "only {errors} of {all} reply lines are errors");
}
