//! The command table: every command of a client, once.

pub mod absent;
pub mod acl;
pub mod connection;
pub mod group;
pub mod keys;
pub mod latency;
pub mod pubsub;
pub mod server;
pub mod stream;
pub mod strings;
pub mod transaction;

use crate::command::spec::Row;
use std::sync::LazyLock;

const FAMILIES: [&[Row]; 11] = [
    stream::ROWS,
    group::ROWS,
    keys::ROWS,
    strings::ROWS,
    pubsub::ROWS,
    transaction::ROWS,
    connection::ROWS,
    server::ROWS,
    acl::ROWS,
    latency::ROWS,
    absent::ROWS,
];

/// Number of rows, sub-commands included.
pub const ROWS: usize = {
    let mut count = 0;
    let mut family = 0;
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

/// All rows; a row's position is its index.
pub static TABLE: [Row; ROWS] = collect();

/// Concatenates the families; each row gets its index.
const fn collect() -> [Row; ROWS] {
    let mut table = [FAMILIES[0][0]; ROWS];
    let mut next = 0;
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            table[next] = FAMILIES[family][row].at(next as u16);
            next += 1;
            row += 1;
        }
        family += 1;
    }
    table
}

static FULL_NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let name = |row: &Row| match row.container {
        Some(container) => format!("{container}|{}", row.name),
        None => row.name.to_owned(),
    };
    TABLE.iter().map(name).collect()
});

/// The full name of the row at `index`: `xgroup|create`.
pub fn full_name(index: usize) -> &'static str {
    &FULL_NAMES[index]
}

/// The rows of commands, without sub-commands.
pub fn commands() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.container.is_none())
}

/// The sub-commands of a container.
pub fn subcommands(container: &str) -> impl Iterator<Item = &'static Row> + use<'_> {
    TABLE.iter().filter(move |row| row.container == Some(container))
}
