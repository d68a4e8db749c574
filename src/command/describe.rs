//! COMMAND and its sub-commands, derived from the table (Redis `addReplyCommandInfo`, `addReplyCommandDocs`).

use crate::base::glob;
use crate::command::keys;
use crate::command::lookup;
use crate::command::parse::help;
use crate::command::spec::{Argument, ArgumentKind, BeginSearch, Category, Flag, KeyFlag, KeySpec, Row};
use crate::command::table;
use crate::command::value::server::{CommandFilter, CommandQuery};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::reply::{Reply, ReplyError};

const INVALID_COMMAND: ReplyError = ReplyError::new("ERR Invalid command specified");
const NO_KEYS: ReplyError = ReplyError::new("ERR The command has no key arguments");
const INVALID_NUMBER: ReplyError = ReplyError::new("ERR Invalid number of arguments specified for command");
const INVALID_ARGUMENTS: ReplyError = ReplyError::new("ERR Invalid arguments specified for command");

/// The reply to COMMAND and its sub-commands.
pub fn answer(query: &CommandQuery<'_>) -> Reply {
    match query {
        CommandQuery::All => Reply::Array(table::commands().map(info).collect()),
        CommandQuery::Count => Reply::count(table::commands().count()),
        CommandQuery::Info { names } if names.is_empty() => answer(&CommandQuery::All),
        CommandQuery::Info { names } => Reply::Array(
            names.iter().map(|name| lookup::by_full_name(name).map_or(Reply::Nil, info)).collect(),
        ),
        CommandQuery::Docs { names } if names.is_empty() => {
            Reply::Map(table::commands().map(named_docs).collect())
        }
        CommandQuery::Docs { names } => {
            Reply::Map(names.iter().filter_map(lookup::by_full_name).map(named_docs).collect())
        }
        CommandQuery::List { filter } => Reply::Array(list(*filter)),
        CommandQuery::GetKeys { request } => keys_of(*request, false).into(),
        CommandQuery::GetKeysAndFlags { request } => keys_of(*request, true).into(),
        CommandQuery::Help => help::reply("COMMAND", help::COMMAND),
    }
}

fn status(text: &'static str) -> Reply {
    Reply::Status(text.into())
}

/// The ten fields of COMMAND INFO.
fn info(row: &'static Row) -> Reply {
    let (first, last, step) = legacy_range(row.keys);
    let flags = Flag::SHOWN.iter().filter(|(flag, _)| row.flags.has(*flag));
    // Redis declares a set but sends an array of the commands that exist.
    let subcommands = if lookup::is_container(row) {
        Reply::Array(table::subcommands(row.name).map(info).collect())
    } else {
        Reply::Set(Vec::new())
    };
    Reply::Array(vec![
        Reply::Text(row.full_name()),
        Reply::Integer(row.arity.into()),
        Reply::Set(flags.map(|(_, name)| status(name)).collect()),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        Reply::Set(row.categories().map(|category| status(category.name())).collect()),
        Reply::Set(row.tips.iter().map(|&tip| Reply::Text(tip)).collect()),
        Reply::Set(row.keys.iter().map(key_spec).collect()),
        subcommands,
    ])
}

/// First key, last key and step, the form before key specs (Redis `populateCommandLegacyRangeSpec`); zeros
/// where that form cannot express the keys.
fn legacy_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let by_index = |spec: &KeySpec| match spec.begin {
        BeginSearch::Index(index) => Some((i64::from(index), i64::from(spec.last), i64::from(spec.step))),
        BeginSearch::Keyword { .. } => None,
    };
    let absolute = |first: i64, last: i64| if last < 0 { last } else { first + last };
    let mut ranges = specs.iter().filter_map(by_index);
    let Some((first, last, step)) = ranges.next() else { return (0, 0, 0) };
    // Adjacent further keys widen the range; at most two single keys occur.
    let last = ranges.fold(absolute(first, last), |before, (first, last, _)| {
        if before >= 0 && first == before + 1 { absolute(first, last) } else { before }
    });
    (first, last, step)
}

fn key_flags(spec: &KeySpec) -> Reply {
    Reply::Set(spec.flags.iter().map(|flag| status(flag.name())).collect())
}

fn key_spec(spec: &KeySpec) -> Reply {
    let typed =
        |kind, spec| Reply::Map(vec![(Reply::Text("type"), Reply::Text(kind)), (Reply::Text("spec"), spec)]);
    let begin = match spec.begin {
        BeginSearch::Index(index) => {
            typed("index", Reply::Map(vec![(Reply::Text("index"), Reply::Integer(index.into()))]))
        }
        BeginSearch::Keyword { keyword, from } => typed(
            "keyword",
            Reply::Map(vec![
                (Reply::Text("keyword"), Reply::Text(keyword)),
                (Reply::Text("startfrom"), Reply::Integer(from.into())),
            ]),
        ),
    };
    let find = typed(
        "range",
        Reply::Map(vec![
            (Reply::Text("lastkey"), Reply::Integer(spec.last.into())),
            (Reply::Text("keystep"), Reply::Integer(spec.step.into())),
            (Reply::Text("limit"), Reply::Integer(spec.limit.into())),
        ]),
    );
    let mut fields = Vec::with_capacity(4);
    if !spec.notes.is_empty() {
        fields.push((Reply::Text("notes"), Reply::Text(spec.notes)));
    }
    fields.push((Reply::Text("flags"), key_flags(spec)));
    fields.push((Reply::Text("begin_search"), begin));
    fields.push((Reply::Text("find_keys"), find));
    Reply::Map(fields)
}

fn named_docs(row: &'static Row) -> (Reply, Reply) {
    (Reply::Text(row.full_name()), docs(row))
}

/// The entry of COMMAND DOCS.
fn docs(row: &'static Row) -> Reply {
    let mut fields = vec![
        (Reply::Text("summary"), Reply::Text(row.summary)),
        (Reply::Text("since"), Reply::Text(row.since)),
        (Reply::Text("group"), Reply::Text(row.group.name())),
        (Reply::Text("complexity"), Reply::Text(row.complexity)),
    ];
    if let Some((since, replacement)) = row.deprecated {
        fields.push((Reply::Text("doc_flags"), Reply::Set(vec![status("deprecated")])));
        fields.push((Reply::Text("deprecated_since"), Reply::Text(since)));
        fields.push((Reply::Text("replaced_by"), Reply::Text(replacement)));
    }
    if !row.arguments.is_empty() {
        fields.push((Reply::Text("arguments"), arguments(row.arguments)));
    }
    if lookup::is_container(row) {
        fields.push((
            Reply::Text("subcommands"),
            Reply::Map(table::subcommands(row.name).map(named_docs).collect()),
        ));
    }
    Reply::Map(fields)
}

fn arguments(arguments: &'static [Argument]) -> Reply {
    Reply::Array(arguments.iter().map(argument).collect())
}

fn argument(argument: &'static Argument) -> Reply {
    let mut fields = vec![
        (Reply::Text("name"), Reply::Text(argument.name)),
        (Reply::Text("type"), Reply::Text(argument.kind.name())),
    ];
    if !matches!(argument.kind, ArgumentKind::PureToken | ArgumentKind::OneOf | ArgumentKind::Block) {
        fields.push((Reply::Text("display_text"), Reply::Text(argument.name)));
    }
    if let ArgumentKind::Key(spec) = argument.kind {
        fields.push((Reply::Text("key_spec_index"), Reply::Integer(spec.into())));
    }
    for (name, text) in [("token", argument.token), ("since", argument.since)] {
        if !text.is_empty() {
            fields.push((Reply::Text(name), Reply::Text(text)));
        }
    }
    let flags = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
        (argument.repeats_token, "multiple_token"),
    ];
    let flags: Vec<Reply> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| status(name)).collect();
    if !flags.is_empty() {
        fields.push((Reply::Text("flags"), Reply::Set(flags)));
    }
    if !argument.parts.is_empty() {
        fields.push((Reply::Text("arguments"), arguments(argument.parts)));
    }
    Reply::Map(fields)
}

/// COMMAND LIST: commands and their sub-commands (Redis `commandListCommand`).
fn list(filter: CommandFilter<'_>) -> Vec<Reply> {
    let rows = |keep: &dyn Fn(&Row) -> bool| {
        table::TABLE.iter().filter(|row| keep(row)).map(|row| Reply::Text(row.full_name())).collect()
    };
    match filter {
        CommandFilter::None => rows(&|_| true),
        // There are no modules to filter by.
        CommandFilter::Module(_) => Vec::new(),
        CommandFilter::AclCategory(name) => match Category::find(name) {
            None => Vec::new(),
            Some(category) => rows(&|row| row.is_in(category)),
        },
        CommandFilter::Pattern(pattern) => {
            let pattern = pattern.to_ascii_lowercase();
            rows(&|row| glob::matches(&pattern, row.full_name().as_bytes()))
        }
    }
}

/// Redis `getKeysSubcommandImpl`.
fn keys_of(request: ArgList<'_>, with_flags: bool) -> Result<Reply, ReplyError> {
    let request: OwnedArgs = request.iter().collect();
    let args = request.as_args();
    let row = lookup::row_of(args).ok_or(INVALID_COMMAND)?;
    if row.keys.iter().all(|spec| spec.has(KeyFlag::NotKey)) {
        return Err(NO_KEYS);
    }
    if !row.accepts(args.len()) {
        return Err(INVALID_NUMBER);
    }
    let found = keys::find(row, args).filter(|found| !found.is_empty());
    let found = match found {
        Some(found) => found,
        None if row.flags.has(Flag::NoMandatoryKeys) => Vec::new(),
        None => return Err(INVALID_ARGUMENTS),
    };
    let is_get = |arg: &[u8]| arg.eq_ignore_ascii_case(b"GET");
    let set_reads = row.name == "set" && args.from(3).iter().any(is_get);
    let reply = |(key, spec): keys::Found<'_>| {
        if !with_flags {
            return Reply::bulk(key);
        }
        let flags = if !spec.has(KeyFlag::VariableFlags) {
            // A spec may miss keys without making the keys that it finds unusable.
            let used = spec.flags.iter().filter(|flag| **flag != KeyFlag::Incomplete);
            Reply::Set(used.map(|flag| status(flag.name())).collect())
        } else if set_reads {
            Reply::Set(vec![status("RW"), status("access"), status("update")])
        } else {
            Reply::Set(vec![status("OW"), status("update")])
        };
        Reply::Array(vec![Reply::bulk(key), flags])
    };
    Ok(Reply::Array(found.into_iter().map(reply).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::args::Args;

    fn words(request: &str) -> OwnedArgs {
        request.split(' ').map(str::as_bytes).collect()
    }

    fn list_of(args: Args<'_>) -> ArgList<'_> {
        ArgList::Args(args)
    }

    fn keys(request: &str) -> Result<Reply, ReplyError> {
        keys_of(list_of(words(request).as_args()), false)
    }

    fn statuses(names: &[&'static str]) -> Reply {
        Reply::Set(names.iter().map(|name| status(name)).collect())
    }

    #[test]
    fn info_has_the_shape_that_redis_gives() {
        let Reply::Array(fields) = info(lookup::command(b"xadd").unwrap()) else { panic!() };
        assert_eq!(fields.len(), 10);
        assert_eq!(fields[0], Reply::Text("xadd"));
        assert_eq!(fields[1], Reply::Integer(-5));
        assert_eq!(fields[2], statuses(&["write", "denyoom", "fast"]));
        assert_eq!(fields[3..6], [Reply::Integer(1), Reply::Integer(1), Reply::Integer(1)]);
        assert_eq!(fields[6], statuses(&["@write", "@stream", "@fast"]));
        assert_eq!(fields[7], Reply::Set(vec![Reply::Text("nondeterministic_output")]));
        let names = words("nope");
        let reply = answer(&CommandQuery::Info { names: list_of(names.as_args()) });
        assert_eq!(reply, Reply::Array(vec![Reply::Nil]));
    }

    #[test]
    fn old_key_positions_are_those_of_redis() {
        let expected = [
            ("get", (1, 1, 1)),
            ("del", (1, -1, 1)),
            ("mset", (1, -1, 2)),
            ("rename", (1, 2, 1)),
            ("copy", (1, 2, 1)),
            ("xread", (0, 0, 0)),
            ("ping", (0, 0, 0)),
            ("xgroup|create", (2, 2, 1)),
        ];
        for (name, range) in expected {
            assert_eq!(legacy_range(lookup::by_full_name(name.as_bytes()).unwrap().keys), range, "{name}");
        }
    }

    #[test]
    fn keys_of_requests_are_found() {
        let found = |keys: &[&str]| Ok(Reply::Array(keys.iter().map(Reply::bulk).collect()));
        assert_eq!(keys("XREAD STREAMS a b 0 0"), found(&["a", "b"]));
        assert_eq!(keys("XREADGROUP GROUP g STREAMS STREAMS a >"), found(&["a"]));
        assert_eq!(keys("MSET a 1 b 2"), found(&["a", "b"]));
        assert_eq!(keys("XGROUP CREATE s g $"), found(&["s"]));
        let request = words("XREAD STREAMS a 0");
        let found_with_flags = keys_of(list_of(request.as_args()), true);
        let expected = Reply::Array(vec![Reply::bulk("a"), statuses(&["RO", "access"])]);
        assert_eq!(found_with_flags, Ok(Reply::Array(vec![expected])));
        assert_eq!(keys("NOPE a"), Err(INVALID_COMMAND));
        assert_eq!(keys("PING"), Err(NO_KEYS));
        assert_eq!(keys("SPUBLISH c m"), Err(NO_KEYS));
        assert_eq!(keys("GET"), Err(INVALID_NUMBER));
        assert_eq!(keys("XREAD STREAMS a b 0"), Err(INVALID_ARGUMENTS));
        assert_eq!(keys("XREAD BAD STREAMS a 0"), Err(INVALID_ARGUMENTS));
    }

    #[test]
    fn lists_are_filtered() {
        let streams = list(CommandFilter::AclCategory(b"stream"));
        assert!(streams.contains(&Reply::Text("xgroup|create")) && !streams.contains(&Reply::Text("get")));
        let matching = list(CommandFilter::Pattern(b"XR*"));
        assert_eq!(matching.len(), 4, "{matching:?}");
        assert_eq!(list(CommandFilter::None).len(), table::ROWS);
        assert!(list(CommandFilter::None).contains(&Reply::Text("xgroup|create")));
        assert!(list(CommandFilter::Module(b"x")).is_empty());
    }
}
