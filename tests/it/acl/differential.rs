//! Random rules on Headwater and on Redis 7.0. Equal on both: the replies of SETUSER and GETUSER, logins, and
//! the refusals of DRYRUN and of the server. HEADWATER_DIFF_SEQUENCES and HEADWATER_SEED as in the other
//! comparison.
//!
//! Not compared: the command rules as text (Redis keeps their order since 7.2), and the flag
//! `sanitize-payload` (reported for every user since 7.2).

use super::requests::{self, KEY};
use crate::support::client::Client;
use crate::support::random::{Random, from_environment};
use crate::support::reference::redis_server;
use crate::support::server::{Server, binary_under_test};
use crate::support::value::Value;

const SIMPLE: [&str; 34] = [
    "on",
    "off",
    "On",
    "nopass",
    "resetpass",
    ">a",
    ">b",
    "<a",
    "<b",
    "reset",
    "clearselectors",
    "allkeys",
    "~*",
    "resetkeys",
    "~a*",
    "~b",
    "%R~r*",
    "%W~w*",
    "%RW~x",
    "%R~b",
    "allchannels",
    "&*",
    "resetchannels",
    "&1-1",
    "&1*",
    "&other",
    "allcommands",
    "+@all",
    "nocommands",
    "-@all",
    "",
    "#ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "skip-sanitize-payload",
    "sanitize-payload",
];

const WRONG: [&str; 17] = [
    "nope",
    "+nope",
    "-nope",
    "+@nope",
    "+config|nope",
    "+config|set|x",
    "+select|",
    "%~k",
    "%RR~k",
    "%X~k",
    "~with blank",
    "&with blank",
    "#abc",
    "!abc",
    "(",
    ")",
    "((~a)",
];

const CATEGORIES: [&str; 12] = [
    "read",
    "write",
    "keyspace",
    "string",
    "stream",
    "pubsub",
    "fast",
    "slow",
    "connection",
    "transaction",
    "dangerous",
    "admin",
];

/// Key names besides [`KEY`].
const KEYS: [&str; 6] = ["a1", "b", "r1", "w1", "x", "other"];

struct Pair {
    ours: Client,
    redis: Client,
    random: Random,
    /// Requests known to both.
    requests: Vec<Vec<String>>,
}

impl Pair {
    #[track_caller]
    fn both(&mut self, words: &[String]) -> (Value, Value) {
        (self.ours.command(words), self.redis.command(words))
    }

    fn rule(&mut self) -> String {
        let random = &mut self.random;
        match random.below(20) {
            0 => (*random.pick(&WRONG)).to_owned(),
            1..6 => {
                let sign = if random.one_in(2) { '+' } else { '-' };
                format!("{sign}@{}", random.pick(&CATEGORIES))
            }
            6..11 => {
                let sign = if random.one_in(3) { '-' } else { '+' };
                let words = random.pick(&self.requests);
                let command = if headwater::command::lookup::by_full_name(
                    format!("{}|{}", words[0], words.get(1).map_or("", |w| w)).as_bytes(),
                )
                .is_some()
                {
                    if random.one_in(3) { words[0].clone() } else { format!("{}|{}", words[0], words[1]) }
                } else {
                    words[0].clone()
                };
                format!("{sign}{command}")
            }
            11 => ["+select|0", "+select|1", "+get|a1", "+xadd|x"][random.below(4)].to_owned(),
            12 | 13 => {
                let inner: Vec<String> = (0..1 + random.below(4)).map(|_| self.rule()).collect();
                format!("({})", inner.join(" "))
            }
            _ => (*random.pick(&SIMPLE)).to_owned(),
        }
    }

    fn request(&mut self) -> Vec<String> {
        let words = self.random.pick(&self.requests).clone();
        words
            .into_iter()
            .map(|word| if word == KEY { (*self.random.pick(&KEYS)).to_owned() } else { word })
            .collect()
    }
}

/// GETUSER without the parts that are not compared.
fn told(reply: &Value) -> String {
    fn without_commands(fields: &[Value]) -> Vec<String> {
        let mut told = Vec::new();
        for pair in fields.chunks(2) {
            match pair[0].text().as_str() {
                "commands" => told.push(pair[1].text()[..5].to_owned()),
                "selectors" => told.extend(
                    pair[1]
                        .elements()
                        .iter()
                        .map(|selector| without_commands(&selector.elements()).join(" | ")),
                ),
                "flags" => {
                    let flags = pair[1].elements();
                    told.push(
                        flags
                            .iter()
                            .map(Value::text)
                            .filter(|flag| flag != "sanitize-payload")
                            .collect::<Vec<_>>()
                            .join(" "),
                    );
                }
                _ => told.push(pair[1].to_string()),
            }
        }
        told
    }
    without_commands(&reply.elements()).join("\n")
}

/// The kind of a refusal, independent of a version's wording.
fn kind(reply: &Value) -> &'static str {
    let text = reply.text();
    match () {
        () if !text.contains("NOPERM") => "executed",
        () if text.contains("command") => "command",
        () if text.contains("key") => "key",
        () => "channel",
    }
}

#[test]
fn random_rules_mean_the_same_to_redis() {
    let Some(redis) = redis_server() else { return };
    let ours = Server::of(binary_under_test(), &["--login-failures-free", "0"]);
    let reference = Server::of(redis, &["--appendonly", "no"]);
    if ours.is_partitioned() {
        // GETUSER and DRYRUN do not depend on it.
        return;
    }
    let mut pair = Pair {
        ours: ours.connect(),
        redis: reference.connect(),
        random: Random::from_environment("rules"),
        requests: Vec::new(),
    };
    for request in requests::all() {
        let dry_run: Vec<String> = ["ACL", "DRYRUN", "default"]
            .map(str::to_owned)
            .into_iter()
            .chain(request.words.clone())
            .collect();
        if pair.redis.command(&dry_run) == Value::ok() {
            pair.requests.push(request.words);
        }
    }
    assert!(pair.requests.len() > 100, "Redis knows only {} of the commands", pair.requests.len());
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (mut allowed, mut denied) = (0, 0);
    'users: for _ in 0..from_environment("HEADWATER_DIFF_SEQUENCES", 300) {
        pair.both(&words("ACL DELUSER u"));
        let mut history = Vec::new();
        for _ in 0..1 + pair.random.below(4) {
            let mut set = words("ACL SETUSER u");
            for _ in 0..1 + pair.random.below(6) {
                let rule = pair.rule();
                // A selector may come in pieces.
                match pair.random.one_in(2) {
                    true if !rule.contains("with blank") => set.extend(words(&rule)),
                    _ => set.push(rule),
                }
            }
            history.push(set[3..].to_vec());
            let (left, right) = pair.both(&set);
            // Redis accepts a word that ends with a bracket inside of a selector (compat/differences.md).
            let brackets = set.iter().flat_map(|word| word.bytes()).filter(|byte| *byte == b')').count();
            if left != right && brackets > 1 && left.text().ends_with(")': Syntax error") {
                continue 'users;
            }
            // Redis 7.0 drops what stands before a second opening bracket (the same page).
            let openings = set.iter().filter(|word| word.starts_with('(') && !word.ends_with(')')).count();
            if left != right && openings > 1 && left.is_error() {
                continue 'users;
            }
            assert_eq!(left, right, "{history:#?}");
        }
        let (left, right) = pair.both(&words("ACL GETUSER u"));
        assert_eq!(told(&left), told(&right), "{history:#?}");
        for _ in 0..20 {
            let request = pair.request();
            let mut dry_run = words("ACL DRYRUN u");
            dry_run.extend(request.iter().cloned());
            let (left, right) = pair.both(&dry_run);
            let text = right.text().replace("This user has", "User u has");
            assert_eq!(left.text(), text, "{}\n{history:#?}", dry_run.join(" "));
            if left == Value::ok() {
                allowed += 1;
                continue;
            }
            denied += 1;
            // The user may not exist; and Redis first checks whether DEBUG is enabled.
            if left.is_error() || request[0] == "debug" {
                continue;
            }
            // The same from the server itself. The user may have to be enabled first; its rules stay.
            pair.both(&words("ACL SETUSER u on nopass"));
            let (mut ours, mut redis) = (ours.connect(), reference.connect());
            for client in [&mut ours, &mut redis] {
                if client.line("AUTH u x") != Value::ok() {
                    panic!("not let in: {history:#?}");
                }
            }
            let (left, right) = (ours.command(&request), redis.command(&request));
            assert_eq!(kind(&left), kind(&right), "{}: {left} {right}\n{history:#?}", request.join(" "));
            if left.is_error() && !left.text().starts_with("ERR unknown") {
                assert_ne!(kind(&left), "executed", "{}: {left}\n{history:#?}", request.join(" "));
            }
        }
        for password in ["a", "b", "abc"] {
            let (mut ours, mut redis) = (ours.connect(), reference.connect());
            let words = ["AUTH", "u", password];
            assert_eq!(ours.command(&words), redis.command(&words), "{history:#?}");
        }
    }
    assert!(allowed > 0 && denied > 0, "{allowed} allowed, {denied} denied");
}
