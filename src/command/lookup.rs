//! From the name in a request to a row of the table.
//!
//! Names are at most 16 bytes, so that a lower-cased name is one `u128`; a hash table of them is made at compile time.

use crate::command::spec::Row;
use crate::command::table::{ROWS, TABLE};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

const NAME_BYTES_MAX: usize = 16;

/// Slots of the hash table: a power of two, at most half full, so that a probe soon finds an empty one.
const SLOTS: usize = (2 * ROWS).next_power_of_two();

/// The container of a command that has none.
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
        let container = match TABLE_VIEW[row].container {
            Some(name) => row_of_container(name),
            None => TOP,
        };
        let Some(name) = pack(TABLE_VIEW[row].name.as_bytes()) else { panic!("a name is too long") };
        let mut slot = hash(name, container);
        while index[slot].name != 0 {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = Slot { name, container, row: row as u16 };
        row += 1;
    }
    index
};

/// Constants may not refer to statics, so the index is made from a copy.
const TABLE_VIEW: [Row; ROWS] = crate::command::table::collect();

const fn row_of_container(name: &str) -> u16 {
    let mut row = 0;
    while row < ROWS {
        if TABLE_VIEW[row].container.is_none() && same(TABLE_VIEW[row].name.as_bytes(), name.as_bytes()) {
            return row as u16;
        }
        row += 1;
    }
    panic!("a sub-command of a container that is not in the table")
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    matches!((pack(left), pack(right)), (Some(left), Some(right)) if left == right)
}

/// The name in lower case as one number; `None` if no row can have it. No name has a zero byte, so lengths differ.
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
    // Multiplication by an odd constant spreads upward, so the high bits are taken (Fibonacci hashing).
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

/// A command by its name, in any case; a container itself, not its sub-commands.
pub fn command(name: &[u8]) -> Option<&'static Row> {
    look_up(name, TOP)
}

/// A sub-command of `container`.
pub fn subcommand(container: &Row, name: &[u8]) -> Option<&'static Row> {
    look_up(name, container.index() as u16)
}

/// By full name, `xgroup|create`, in any case.
pub fn by_full_name(name: &[u8]) -> Option<&'static Row> {
    match name.iter().position(|&byte| byte == b'|') {
        None => command(name),
        Some(bar) => subcommand(command(&name[..bar])?, &name[bar + 1..]),
    }
}

/// The row that a request means, whatever its number of arguments: `Err` holds the container whose sub-command is not
/// known, or nothing.
fn resolve(args: Args<'_>) -> Result<&'static Row, Option<&'static Row>> {
    let row = args.get(0).and_then(command).ok_or(None)?;
    match args.get(1) {
        Some(name) if is_container(row) => subcommand(row, name).ok_or(Some(row)),
        _ => Ok(row),
    }
}

/// The row that a request means, whatever its number of arguments.
pub fn row_of(args: Args<'_>) -> Option<&'static Row> {
    resolve(args).ok()
}

/// Whether the command has sub-commands, which a request must name.
pub fn is_container(row: &Row) -> bool {
    CONTAINERS[row.index()]
}

static CONTAINERS: [bool; ROWS] = {
    let mut containers = [false; ROWS];
    let mut row = 0;
    while row < ROWS {
        if let Some(name) = TABLE_VIEW[row].container {
            containers[row_of_container(name) as usize] = true;
        }
        row += 1;
    }
    containers
};

/// The row that a request means.
///
/// # Errors
/// Unknown command, unknown sub-command, wrong number of arguments: Redis `processCommand`, `commandCheckExistence`,
/// `commandCheckArity`.
pub fn find(args: Args<'_>) -> Result<&'static Row, ReplyError> {
    let row = resolve(args).map_err(|container| match container {
        Some(container) => unknown_subcommand(container, args),
        None => unknown_command(args),
    })?;
    if row.accepts(args.len()) { Ok(row) } else { Err(ReplyError::wrong_arity(row.full_name())) }
}

/// What Redis shows of an argument with `%.*s`: at most `max` bytes, up to the first zero.
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
