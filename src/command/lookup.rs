//! Looks up the row of a request's name.
//!
//! Names have at most 16 bytes, so a lower-case name is one `u128`; a hash table of them is built at compile
//! time.

use crate::command::spec::Row;
use crate::command::table::{ROWS, TABLE};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

const NAME_BYTES_MAX: usize = 16;

/// Slots of the hash table: a power of two, at most half used, so that a probe soon finds a free slot.
const SLOTS: usize = (2 * ROWS).next_power_of_two();

/// The container of a top-level command.
const TOP: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Slot {
    name: u128,
    container: u16,
    row: u16,
}

const EMPTY: Slot = Slot { name: 0, container: TOP, row: 0 };

static INDEX: [Slot; SLOTS] = {
    assert!(ROWS < TOP as usize);
    let mut index = [EMPTY; SLOTS];
    let mut row = 0;
    while row < ROWS {
        let container = match TABLE[row].container {
            Some(name) => row_of_container(name),
            None => TOP,
        };
        let Some(name) = pack(TABLE[row].name.as_bytes()) else { panic!("a name is too long") };
        let mut slot = hash(name, container);
        while index[slot].name != 0 {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = Slot { name, container, row: row as u16 };
        row += 1;
    }
    index
};

const fn row_of_container(name: &str) -> u16 {
    let mut row = 0;
    while row < ROWS {
        if TABLE[row].container.is_none() && same(TABLE[row].name.as_bytes(), name.as_bytes()) {
            return row as u16;
        }
        row += 1;
    }
    panic!("a sub-command of a container that is not in the table")
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    matches!((pack(left), pack(right)), (Some(left), Some(right)) if left == right)
}

/// The lower-case name as one number; `None` if it is too long for any row. Names contain no zero byte, so
/// lengths differ.
const fn pack(name: &[u8]) -> Option<u128> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut packed = 0;
    let mut next = 0;
    while next < name.len() {
        let byte = name[next].to_ascii_lowercase();
        if byte == 0 {
            return None;
        }
        packed = packed << 8 | byte as u128;
        next += 1;
    }
    Some(packed)
}

const fn hash(name: u128, container: u16) -> usize {
    // Multiplying by an odd constant spreads entropy upward, so the high bits are used (Fibonacci hashing).
    let mixed = (name as u64 ^ (name >> 64) as u64).wrapping_add(container as u64);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % SLOTS
}

fn look_up(name: &[u8], container: u16) -> Option<&'static Row> {
    let name = pack(name)?;
    let mut slot = hash(name, container);
    loop {
        let found = &INDEX[slot];
        if found.name == name && found.container == container {
            return Some(&TABLE[usize::from(found.row)]);
        }
        if found.name == 0 {
            return None;
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Finds a command by name, ignoring case; for a container the container itself, not its sub-commands.
pub fn command(name: &[u8]) -> Option<&'static Row> {
    look_up(name, TOP)
}

/// A sub-command of `container`.
pub fn subcommand(container: &Row, name: &[u8]) -> Option<&'static Row> {
    look_up(name, container.index() as u16)
}

/// Finds a row by its full name (`xgroup|create`), ignoring case.
pub fn by_full_name(name: &[u8]) -> Option<&'static Row> {
    match name.iter().position(|&byte| byte == b'|') {
        None => command(name),
        Some(bar) => subcommand(command(&name[..bar])?, &name[bar + 1..]),
    }
}

/// The row of a request, whatever its number of arguments. `Err` holds the container of an unknown
/// sub-command, or nothing.
fn resolve(args: Args<'_>) -> Result<&'static Row, Option<&'static Row>> {
    let row = args.get(0).and_then(command).ok_or(None)?;
    match args.get(1) {
        Some(name) if is_container(row) => subcommand(row, name).ok_or(Some(row)),
        _ => Ok(row),
    }
}

/// The row of a request, whatever its number of arguments.
pub fn row_of(args: Args<'_>) -> Option<&'static Row> {
    resolve(args).ok()
}

/// Whether the command has sub-commands, one of which a request must name.
pub fn is_container(row: &Row) -> bool {
    CONTAINERS[row.index()]
}

static CONTAINERS: [bool; ROWS] = {
    let mut containers = [false; ROWS];
    let mut row = 0;
    while row < ROWS {
        if let Some(name) = TABLE[row].container {
            containers[row_of_container(name) as usize] = true;
        }
        row += 1;
    }
    containers
};

/// The row of a request.
///
/// # Errors
/// Unknown command, unknown sub-command, wrong number of arguments: Redis `processCommand`,
/// `commandCheckExistence`, `commandCheckArity`.
pub fn find(args: Args<'_>) -> Result<&'static Row, ReplyError> {
    let row = resolve(args).map_err(|container| match container {
        Some(container) => unknown_subcommand(container, args),
        None => unknown_command(args),
    })?;
    if row.accepts(args.len()) { Ok(row) } else { Err(ReplyError::wrong_arity(row.full_name())) }
}

/// The part of an argument that Redis prints with `%.*s`: at most `max` bytes, up to the first zero.
fn shown(arg: &[u8], max: usize) -> &[u8] {
    let arg = &arg[..arg.len().min(max)];
    &arg[..arg.iter().position(|&byte| byte == 0).unwrap_or(arg.len())]
}

#[cold]
fn unknown_command(args: Args<'_>) -> ReplyError {
    const SHOWN_MAX: usize = 128;
    let mut beginning = Vec::new();
    for arg in args.from(1).iter() {
        if beginning.len() >= SHOWN_MAX {
            break;
        }
        let arg = shown(arg, SHOWN_MAX - beginning.len());
        beginning.extend([b"'", arg, b"' "].concat());
    }
    let name = shown(args.get(0).unwrap_or_default(), SHOWN_MAX);
    ReplyError::owned([b"ERR unknown command '", name, b"', with args beginning with: ", &beginning].concat())
}

#[cold]
fn unknown_subcommand(container: &Row, args: Args<'_>) -> ReplyError {
    let name = shown(args.get(1).unwrap_or_default(), 128);
    let container = container.name.to_ascii_uppercase();
    let parts: [&[u8]; 5] = [b"ERR unknown subcommand '", name, b"'. Try ", container.as_bytes(), b" HELP."];
    ReplyError::owned(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::args::OwnedArgs;
    use std::collections::HashSet;

    fn error(words: &[&str]) -> String {
        let args: OwnedArgs = words.iter().map(|word| word.as_bytes()).collect();
        let error = find(args.as_args()).expect_err("a refusal");
        String::from_utf8(error.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn every_row_is_found_by_its_name_in_any_case() {
        let mut names = HashSet::new();
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.index(), index);
            assert!(names.insert(row.full_name()), "{row:?} twice");
            assert_eq!(by_full_name(row.full_name().as_bytes()), Some(row));
            assert_eq!(by_full_name(row.full_name().to_ascii_uppercase().as_bytes()), Some(row));
            assert_eq!(row.name, row.name.to_ascii_lowercase());
            assert!(row.summary.ends_with('.') && !row.complexity.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn names_that_are_none_are_not_found() {
        let long = "x".repeat(17);
        for name in ["", "get\0", "\0get", "ge", "gett", "create", "xgroup|nope", "nope|create", "|", &long] {
            assert_eq!(by_full_name(name.as_bytes()), None, "{name:?}");
        }
    }

    #[test]
    fn refusals_have_the_texts_of_redis() {
        let unknown = "ERR unknown command 'FOO', with args beginning with: ";
        assert_eq!(error(&["FOO", "bar", "baz"]), format!("{unknown}'bar' 'baz' "));
        assert_eq!(error(&["FOO"]), unknown);
        assert_eq!(error(&["XGROUP", "BAD", "s"]), "ERR unknown subcommand 'BAD'. Try XGROUP HELP.");
        assert_eq!(error(&["client", "BAD"]), "ERR unknown subcommand 'BAD'. Try CLIENT HELP.");
        assert_eq!(error(&["CLIENT"]), "ERR wrong number of arguments for 'client' command");
        assert_eq!(
            error(&["XGROUP", "CREATE", "s"]),
            "ERR wrong number of arguments for 'xgroup|create' command"
        );
        assert_eq!(error(&["Get"]), "ERR wrong number of arguments for 'get' command");
        assert!(find([&b"COMMAND"[..]].into_iter().collect::<OwnedArgs>().as_args()).is_ok());
    }

    #[test]
    fn little_of_a_long_request_is_repeated() {
        let long = "a".repeat(200);
        let shown = error(&[&long, &long, "b"]);
        let a = "a".repeat(128);
        assert_eq!(shown, format!("ERR unknown command '{a}', with args beginning with: '{a}' "));
        // Quotes count too: 'aa…' with 100 of them and the blank leave 25 bytes for the next argument.
        let hundred = "a".repeat(100);
        let shown = error(&["x", &hundred, &hundred]);
        assert!(shown.ends_with(&format!("'{hundred}' '{}' ", "a".repeat(25))), "{shown}");
    }
}
