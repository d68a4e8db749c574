//! The command table against the facts of Redis 8.10 (tests/recorded/commands.txt): version, group, arity,
//! flags, ACL categories, key specs, tips and arguments, from COMMAND and COMMAND DOCS.

use crate::support::server::Server;
use crate::support::value::Value;
use std::collections::BTreeMap;

const FACTS: &str = include_str!("../../recorded/commands.txt");
pub const COLUMNS: [&str; 9] =
    ["name", "since", "group", "arity", "flags", "ACL categories", "key specs", "tips", "arguments"];

/// A command in the columns of the facts.
pub type Row = [String; COLUMNS.len()];

/// Deviations of the table from Redis: command, column, reason.
const OTHERWISE: &[(&str, &str, &str)] = &[(
    "set",
    "arguments",
    "comparing values (8.4) is not built: strings are here for what streams and channels need",
)];

#[test]
fn the_command_table_tells_the_facts_of_redis() {
    let facts: BTreeMap<&str, Vec<&str>> = FACTS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split(';').map(str::trim).collect();
            assert!(columns.len() <= COLUMNS.len(), "too many columns: {line}");
            (columns[0], columns)
        })
        .collect();
    let rows = rows(&Server::start());
    assert!(rows.len() > 100, "{} rows", rows.len());

    let mut failures = String::new();
    let mut otherwise: Vec<_> = OTHERWISE.iter().collect();
    for (name, row) in &rows {
        let Some(wanted) = facts.get(name.as_str()) else {
            failures += &format!("{name}: Redis has no such command\n");
            continue;
        };
        for (at, column) in COLUMNS.iter().enumerate() {
            let wanted = wanted.get(at).copied().unwrap_or_default();
            if row[at] == wanted {
                continue;
            }
            let others = otherwise.len();
            otherwise.retain(|known| (known.0, known.1) != (name, column));
            if otherwise.len() < others {
                continue;
            }
            failures += &format!("{name}, {column}:\n  Redis     {wanted}\n  Headwater {}\n", row[at]);
        }
    }
    for (name, column, ..) in otherwise {
        failures += &format!("{name}, {column}: is as in Redis now: take it out of OTHERWISE\n");
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// The rows of a server's table, by full name, in the columns of the facts.
pub fn rows(server: &Server) -> BTreeMap<String, Row> {
    let mut client = server.connect3();
    let mut docs = BTreeMap::new();
    collect_docs(&client.line("COMMAND DOCS"), &mut docs);
    let mut rows = BTreeMap::new();
    collect_rows(&client.line("COMMAND"), &docs, &mut rows);
    rows
}

/// COMMAND DOCS by full name, sub-commands too.
fn collect_docs(docs: &Value, out: &mut BTreeMap<String, Value>) {
    for pair in docs.elements().chunks_exact(2) {
        out.insert(pair[0].text(), pair[1].clone());
        if let Some(subcommands) = pair[1].field("subcommands") {
            collect_docs(&subcommands, out);
        }
    }
}

/// COMMAND as rows in the columns of the facts, sub-commands too.
fn collect_rows(commands: &Value, docs: &BTreeMap<String, Value>, out: &mut BTreeMap<String, Row>) {
    for command in commands.elements() {
        let fields = command.elements();
        let name = fields[0].text();
        let docs_of = docs.get(&name).unwrap_or_else(|| panic!("no documentation of {name}"));
        let text = |field: &str| docs_of.field(field).map(|value| value.text()).unwrap_or_default();
        let categories = sorted(&fields[6]).replace('@', "");
        let keys: Vec<String> = fields[8].elements().iter().map(key_spec).collect();
        let tips: Vec<String> = fields[7].elements().iter().map(Value::text).collect();
        let row = [
            name.clone(),
            text("since"),
            text("group"),
            fields[1].text(),
            sorted(&fields[2]),
            categories,
            keys.join(", "),
            tips.join(" "),
            docs_of.field("arguments").map(|value| arguments(&value, " ")).unwrap_or_default(),
        ];
        out.insert(name, row);
        collect_rows(&fields[9], docs, out);
    }
}

fn sorted(names: &Value) -> String {
    let mut names: Vec<String> = names.elements().iter().map(Value::text).collect();
    names.sort_unstable();
    names.join(" ")
}

/// `1 0/1/0 RW update`: start of the keys, last key, step and limit, flags.
fn key_spec(spec: &Value) -> String {
    let part = |name: &str| {
        let part = spec.field(name).expect("a part of a key spec");
        (part.field("type").expect("a type").text(), part.field("spec").expect("a spec"))
    };
    let number = |value: &Value, name: &str| value.field(name).map(|value| value.text()).unwrap_or_default();
    let begin = match part("begin_search") {
        (kind, value) if kind == "index" => number(&value, "index"),
        (_, value) => format!("{}@{}", number(&value, "keyword"), number(&value, "startfrom")),
    };
    let (_, range) = part("find_keys");
    let find = ["lastkey", "keystep", "limit"].map(|name| number(&range, name)).join("/");
    format!("{begin} {find} {}", sorted(&spec.field("flags").expect("flags")))
}

fn arguments(list: &Value, between: &str) -> String {
    let arguments: Vec<String> = list.elements().iter().map(argument).collect();
    arguments.join(between)
}

/// `[COUNT count:integer @6.2.0]`: optional in brackets, alternatives in `<|>`, blocks in parentheses.
fn argument(argument: &Value) -> String {
    let text = |field: &str| argument.field(field).map(|value| value.text()).unwrap_or_default();
    let parts =
        |between| argument.field("arguments").map(|list| arguments(&list, between)).unwrap_or_default();
    let (name, token) = (text("name"), text("token"));
    let value = match text("type").as_str() {
        "pure-token" => String::new(),
        "oneof" => format!("<{}>", parts(" | ")),
        "block" => format!("({})", parts(" ")),
        "string" => name,
        "key" => format!("{name}:key{}", text("key_spec_index")),
        kind => format!("{name}:{kind}"),
    };
    let mut out = if token.is_empty() || value.is_empty() { token + &value } else { token + " " + &value };
    let flags: Vec<String> = argument
        .field("flags")
        .map(|flags| flags.elements().iter().map(Value::text).collect())
        .unwrap_or_default();
    let has = |flag: &str| flags.iter().any(|name| name == flag);
    if has("multiple") {
        out += " ...";
    }
    if has("multiple_token") {
        out += " (with its token)";
    }
    if !text("since").is_empty() {
        out += &format!(" @{}", text("since"));
    }
    if has("optional") { format!("[{out}]") } else { out }
}
