//! Finds the keys of a request by the key specs of its row: the reply of COMMAND GETKEYS. Permissions use the
//! keys of the typed value instead (`value::key_scope`); a test below shows that both agree
//! (docs/reliability.md A1).

use crate::command::spec::{BeginSearch, KeyFlag, KeySpec, Row};
use crate::command::value::string::StringWrite;
use crate::command::value::{Command, Data, Write};
use crate::model::args::Args;

/// A key, and the command's access to it.
pub type Found<'a> = (&'a [u8], &'static KeySpec);

/// The keys of a request that its row accepts; `None` if the arguments do not determine them.
pub fn find<'a>(row: &'static Row, args: Args<'a>) -> Option<Vec<Found<'a>>> {
    let mut found = Vec::new();
    for spec in row.keys {
        if spec.has(KeyFlag::NotKey) {
            continue;
        }
        let first = match spec.begin {
            BeginSearch::Index(index) => index as usize,
            BeginSearch::Keyword { keyword, .. } => streams_option(args, keyword)? + 1,
        };
        let len = args.len().checked_sub(first).filter(|&len| len > 0)?;
        let keys = match (spec.last, spec.limit) {
            (0, _) => 1,
            (_, 0) => len,
            (_, limit) if len.is_multiple_of(limit as usize) => len / limit as usize,
            _ => return None,
        };
        found.extend(args.from(first).first(keys).iter().step_by(spec.step as usize).map(|key| (key, spec)));
    }
    Some(found)
}

/// A command's access to a key, as far as permissions distinguish it. Neither: the command only asks for the
/// key's existence or type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Returns something of the key's content.
    pub reads: bool,
    /// Adds, changes or deletes content.
    pub writes: bool,
}

impl Access {
    /// The access that a spec's flags imply (Redis `ACLSelectorCheckKey`).
    pub fn of(spec: &KeySpec) -> Access {
        let writes = [KeyFlag::Insert, KeyFlag::Delete, KeyFlag::Update];
        Access { reads: spec.has(KeyFlag::Access), writes: writes.iter().any(|&flag| spec.has(flag)) }
    }
}

/// The keys that a command uses, with its access to each: the input of permission checks (docs/reliability.md
/// A1).
pub fn accesses<'c>(
    row: &'static Row,
    command: &'c Command<'_>,
) -> impl Iterator<Item = (&'c [u8], Access)> + use<'c> {
    command.keys().enumerate().map(move |(index, key)| (key, access(row, command, index)))
}

fn access(row: &'static Row, command: &Command<'_>, index: usize) -> Access {
    // Several specs stand for one key each.
    let spec = row.keys.get(index).or(row.keys.last());
    match (spec, command) {
        // DEBUG has no specs and shows the keys in its arguments.
        (None, _) => Access { reads: true, writes: false },
        (Some(spec), Command::Data(Data::Write(Write::String(StringWrite::Set(set)))))
            if spec.has(KeyFlag::VariableFlags) =>
        {
            Access { reads: set.get, writes: true }
        }
        (Some(spec), _) => Access::of(spec),
    }
}

/// The index of the keyword STREAMS in XREAD and XREADGROUP. Other options are skipped with their values, so
/// that a group or consumer of that name is not mistaken for the keyword (Redis `xreadGetKeys`).
fn streams_option(args: Args<'_>, keyword: &str) -> Option<usize> {
    const OPTIONS: [(&str, usize); 7] = [
        ("BLOCK", 1),
        ("COUNT", 1),
        ("MAXCOUNT", 1),
        ("MAXSIZE", 1),
        ("CLAIM", 1),
        ("GROUP", 2),
        ("NOACK", 0),
    ];
    let mut index = 1;
    loop {
        let arg = args.get(index)?;
        if arg.eq_ignore_ascii_case(keyword.as_bytes()) {
            return Some(index);
        }
        let option = OPTIONS.iter().find(|(word, _)| arg.eq_ignore_ascii_case(word.as_bytes()));
        index += 1 + option?.1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::command::spec::{Argument, ArgumentKind, Flag};
    use crate::command::table::TABLE;
    use crate::model::args::OwnedArgs;
    use proptest::prelude::*;

    /// Values that are valid for some arguments and misleading for others.
    const TEXTS: [&str; 8] = ["5-5", "1", "STREAMS", "COUNT", "0-1", "k", "$", ">"];

    /// Appends a request that follows the grammar; `choose(n)` returns a number below n.
    fn write(argument: &Argument, choose: &mut dyn FnMut(usize) -> usize, out: &mut Vec<String>) {
        if argument.is_optional && choose(2) == 0 {
            return;
        }
        if !argument.token.is_empty() {
            out.push(argument.token.to_owned());
        }
        let repeat = if argument.is_multiple { 1 + choose(3) } else { 1 };
        for time in 0..repeat {
            if time > 0 && argument.repeats_token {
                out.push(argument.token.to_owned());
            }
            match argument.kind {
                ArgumentKind::PureToken => {}
                ArgumentKind::OneOf => write(&argument.parts[choose(argument.parts.len())], choose, out),
                ArgumentKind::Block => argument.parts.iter().for_each(|part| write(part, choose, out)),
                ArgumentKind::Key(_) => out.push(["k", "STREAMS", "{t}1", ""][choose(4)].to_owned()),
                ArgumentKind::Integer | ArgumentKind::UnixTime | ArgumentKind::Double => {
                    out.push(["1", "7", "100"][choose(3)].to_owned());
                }
                ArgumentKind::String | ArgumentKind::Pattern => {
                    out.push(TEXTS[choose(TEXTS.len())].to_owned())
                }
            }
        }
    }

    fn request(row: &Row, choose: &mut dyn FnMut(usize) -> usize) -> OwnedArgs {
        let mut words: Vec<String> = row.full_name().split('|').map(str::to_owned).collect();
        row.arguments.iter().for_each(|argument| write(argument, choose, &mut words));
        words.iter().map(|word| word.as_bytes()).collect()
    }

    /// A small generator of choices: its seed alone names a failing case.
    fn choices(seed: u64) -> impl FnMut(usize) -> usize {
        let mut state = seed | 1;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as usize % below
        }
    }

    proptest! {
        /// A1: the specs find exactly the keys that the command uses, whatever is named STREAMS.
        #[test]
        fn specs_and_parsed_commands_name_the_same_keys(seed: u64, row in 0..TABLE.len()) {
            let row = &TABLE[row];
            let owned = request(row, &mut choices(seed));
            let args = owned.as_args();
            if row.accepts(args.len()) && let Ok(command) = (row.parse)(args) {
                let used: Vec<&[u8]> = command.keys().collect();
                let found = find(row, args).expect("what parses has keys in their places");
                let found: Vec<&[u8]> = found.into_iter().map(|(key, _)| key).collect();
                if row.name != "debug" {
                    prop_assert_eq!(used, found, "{:?}", args);
                }
            }
        }

        #[test]
        fn nothing_that_a_client_sends_panics(row in 0..TABLE.len(), tail in prop::collection::vec(anything(), 0..12)) {
            let row = &TABLE[row];
            let names = row.full_name().split('|').map(|name| name.as_bytes().to_vec());
            let words: Vec<Vec<u8>> = names.chain(tail).collect();
            let owned: OwnedArgs = words.iter().map(|word| &word[..]).collect();
            let args = owned.as_args();
            match lookup::find(args) {
                Ok(found) => {
                    prop_assert!(found.accepts(args.len()));
                    if let Ok(command) = (found.parse)(args) {
                        command.keys().count();
                    }
                    let _ = find(found, args);
                }
                Err(error) => prop_assert!(!error.as_bytes().is_empty()),
            }
        }
    }

    /// Keywords of all commands, numbers, ids, and any bytes.
    fn anything() -> impl Strategy<Value = Vec<u8>> {
        const WORDS: [&str; 56] = [
            "MAXLEN",
            "MINID",
            "~",
            "=",
            "LIMIT",
            "*",
            "5-*",
            "5-5",
            "0",
            "-1",
            "NOMKSTREAM",
            "KEEPREF",
            "ACKED",
            "BLOCK",
            "COUNT",
            "STREAMS",
            "GROUP",
            "NOACK",
            ">",
            "$",
            "+",
            "-",
            "(1-1",
            "IDLE",
            "TIME",
            "RETRYCOUNT",
            "FORCE",
            "JUSTID",
            "LASTID",
            "MKSTREAM",
            "ENTRIESREAD",
            "FULL",
            "NX",
            "XX",
            "GT",
            "GET",
            "EX",
            "PXAT",
            "KEEPTTL",
            "PERSIST",
            "DB",
            "REPLACE",
            "MATCH",
            "TYPE",
            "AUTH",
            "SETNAME",
            "ID",
            "SKIPME",
            "yes",
            "FILTERBY",
            "PATTERN",
            "SAMPLES",
            "9223372036854775807",
            "18446744073709551615",
            "1e5",
            "inf",
        ];
        prop_oneof![
            4 => prop::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
            1 => any::<Vec<u8>>(),
        ]
    }

    proptest! {
        /// The dispatcher's reading of the row agrees with the typed value.
        #[test]
        fn only_rows_that_write_parse_into_writes(seed: u64, row in 0..TABLE.len()) {
            let row = &TABLE[row];
            let owned = request(row, &mut choices(seed));
            let args = owned.as_args();
            if row.accepts(args.len()) && let Ok(command) = (row.parse)(args) {
                use crate::command::value::{Command, Data};
                let write = matches!(command, Command::Data(Data::Write(_)))
                    || matches!(command, Command::Blocking { read: Data::Write(_), .. });
                prop_assert!(!write || row.flags.has(Flag::Write), "{:?}", args);
                if matches!(command, Command::Blocking { .. }) {
                    prop_assert!(row.flags.has(Flag::Blocking), "{:?}", args);
                }
            }
        }
    }

    #[test]
    fn every_row_has_a_request_that_parses() {
        for row in &TABLE {
            let refuses_all = row.group == crate::command::spec::Group::Cluster
                || (lookup::is_container(row) && row.name != "command");
            let mut seeds = 1..2000u64;
            let parsed = seeds.any(|seed| {
                let owned = request(row, &mut choices(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
                row.accepts(owned.as_args().len()) && (row.parse)(owned.as_args()).is_ok()
            });
            assert!(parsed != refuses_all || row.name == "debug", "{row:?}");
        }
    }
}
