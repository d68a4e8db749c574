//! A request for every row of the command table, built from the row's own grammar, and the permissions that
//! it needs: read from the row a second time, in the plainest way, so that the server is not compared with
//! itself.

use headwater::command::lookup;
use headwater::command::spec::{Argument, ArgumentKind, BeginSearch, Flag, KeyFlag, Row};
use headwater::command::table::TABLE;

/// The key in all requests.
pub const KEY: &str = "k";

/// A valid stream id, and valid text.
const TEXT: &str = "1-1";

pub struct Request {
    pub row: &'static Row,
    pub words: Vec<String>,
    /// A request with this word may block.
    pub blocks: bool,
}

/// The permissions that a request needs.
pub struct Asks {
    pub keys: bool,
    pub reads: bool,
    pub writes: bool,
    pub channels: bool,
}

/// Commands whose channels need a permission. A new command with channels must be added here or below.
const WITH_CHANNELS: [&str; 5] = ["publish", "spublish", "subscribe", "psubscribe", "ssubscribe"];
const WITHOUT_CHANNELS: [&str; 3] = ["unsubscribe", "punsubscribe", "sunsubscribe"];

/// One request per row that can be sent.
pub fn all() -> Vec<Request> {
    TABLE.iter().filter(|row| !is_only_container(row)).map(|row| request(row, false)).collect()
}

/// The blocking requests among them, with a wait.
pub fn blocking() -> Vec<Request> {
    TABLE.iter().map(|row| request(row, true)).filter(|request| request.blocks).collect()
}

/// Cannot be sent without a sub-command.
fn is_only_container(row: &Row) -> bool {
    lookup::is_container(row) && row.name != "command"
}

fn request(row: &'static Row, waiting: bool) -> Request {
    let mut words: Vec<String> = row.full_name().split('|').map(str::to_owned).collect();
    let mut blocks = false;
    for argument in row.arguments {
        blocks |= write(argument, waiting, &mut words);
    }
    while !row.accepts(words.len()) {
        assert!(words.len() < 16, "no request of {} words is one of {row:?}", words.len());
        words.push(TEXT.to_owned());
    }
    Request { row, words, blocks }
}

/// Writes the required arguments, and BLOCK if the request should wait. Returns whether BLOCK was written.
fn write(argument: &Argument, waiting: bool, out: &mut Vec<String>) -> bool {
    let is_block = argument.token == "BLOCK";
    if argument.is_optional && !(waiting && is_block) {
        return false;
    }
    if !argument.token.is_empty() {
        out.push(argument.token.to_owned());
    }
    match argument.kind {
        ArgumentKind::PureToken => {}
        ArgumentKind::OneOf => return write(&argument.parts[0], waiting, out) || is_block,
        ArgumentKind::Block => {
            let mut blocks = is_block;
            for part in argument.parts {
                blocks |= write(part, waiting, out);
            }
            return blocks;
        }
        ArgumentKind::Key(_) => out.push(KEY.to_owned()),
        ArgumentKind::Integer | ArgumentKind::Double | ArgumentKind::UnixTime => {
            out.push(if is_block { "0" } else { "1" }.to_owned());
        }
        ArgumentKind::String | ArgumentKind::Pattern => out.push(TEXT.to_owned()),
    }
    is_block
}

impl Request {
    pub fn asks(&self) -> Asks {
        let name = self.row.full_name();
        let channels = WITH_CHANNELS.contains(&name);
        let known = channels || WITHOUT_CHANNELS.contains(&name) || self.row.container == Some("pubsub");
        assert!(known || !self.row.flags.has(Flag::PubSub), "say whether {name} names channels");
        let mut asks = Asks { keys: false, reads: false, writes: false, channels };
        if self.row.name == "debug" {
            // DEBUG has no key specs; `DEBUG 1-1` names no key.
            return asks;
        }
        for spec in self.row.keys.iter().filter(|spec| !spec.has(KeyFlag::NotKey)) {
            let first = match spec.begin {
                BeginSearch::Index(index) => index as usize,
                BeginSearch::Keyword { keyword, .. } => {
                    1 + self.words.iter().position(|word| word == keyword).expect("the keyword of the keys")
                }
            };
            assert_eq!(self.words[first], KEY, "{:?}", self.words);
            let variable = spec.has(KeyFlag::VariableFlags);
            asks.keys = true;
            // Only SET is variable, and without GET it does not read.
            asks.reads |= spec.has(KeyFlag::Access) && !variable;
            asks.writes |=
                [KeyFlag::Insert, KeyFlag::Update, KeyFlag::Delete].iter().any(|flag| spec.has(*flag));
        }
        asks
    }

    /// Whether the command, or its container, is in the category.
    pub fn is_in(&self, category: &str) -> bool {
        let container = self.row.container.and_then(|name| lookup::command(name.as_bytes()));
        let named = |row: &Row| row.categories().any(|one| one.name() == category);
        named(self.row) || container.is_some_and(named)
    }

    /// The first row of its container in the table.
    pub fn is_first_subcommand(&self) -> bool {
        self.row.container.is_some_and(|container| {
            TABLE.iter().find(|row| row.container == Some(container)) == Some(self.row)
        })
    }
}

/// `+container|first` for every container.
pub fn first_subcommands() -> String {
    let containers = TABLE.iter().filter(|row| lookup::is_container(row));
    let first = |container: &Row| TABLE.iter().find(|row| row.container == Some(container.name));
    let rules = containers.filter_map(first).map(|row| format!("+{}", row.full_name()));
    rules.collect::<Vec<_>>().join(" ")
}
