//! Renders docs/COMMANDS.md from the table.

use crate::command::spec::{Argument, ArgumentKind, Group, Row};
use crate::command::table;
use std::fmt::Write;

const GROUPS: [(Group, &str); 9] = [
    (Group::Stream, "Streams"),
    (Group::PubSub, "Pub/sub"),
    (Group::Transactions, "Transactions"),
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Connection, "Connection"),
    (Group::Server, "Server"),
    (Group::Scripting, "Scripting"),
    (Group::Cluster, "Cluster"),
];

/// The content of the file.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Commands\n\nEvery command that Headwater answers, with its arguments and the Redis version that first had it. \
         Made from the\ncommand table (`src/command/table`) by `HEADWATER_BLESS=1 cargo test document`; do not edit.\n",
    );
    for (group, title) in GROUPS {
        let _ = write!(out, "\n## {title}\n\n| command | since | what it does |\n|---|---|---|\n");
        for row in table::TABLE.iter().filter(|row| row.group == group && !is_bare_container(row)) {
            let usage = usage(row).replace('|', "\\|");
            let _ = writeln!(out, "| `{usage}` | {} | {} |", row.since, row.summary);
        }
    }
    out
}

/// A container that does nothing without a sub-command gets no line of its own.
fn is_bare_container(row: &Row) -> bool {
    row.arity == -2
        && row.arguments.is_empty()
        && table::subcommands(row.name).next().is_some()
        && row.container.is_none()
}

/// `XADD key [NOMKSTREAM] … <* | id> field value [field value …]`
pub fn usage(row: &Row) -> String {
    let mut out = row.full_name().replace('|', " ").to_ascii_uppercase();
    for argument in row.arguments {
        out.push(' ');
        out.push_str(&shape(argument));
    }
    out
}

fn shape(argument: &Argument) -> String {
    let parts = |separator: &str| argument.parts.iter().map(shape).collect::<Vec<_>>().join(separator);
    let value = match argument.kind {
        ArgumentKind::PureToken => String::new(),
        ArgumentKind::OneOf if argument.is_optional && argument.token.is_empty() => parts(" | "),
        ArgumentKind::OneOf => format!("<{}>", parts(" | ")),
        ArgumentKind::Block => parts(" "),
        _ => argument.name.to_owned(),
    };
    let mut out = match (argument.token, &value[..]) {
        ("", value) => value.to_owned(),
        (token, "") => token.to_owned(),
        (token, value) => format!("{token} {value}"),
    };
    if argument.repeats_token {
        out = format!("{out} [{out} ...]");
    } else if argument.is_multiple {
        out = format!("{out} [{value} ...]");
    }
    if argument.is_optional { format!("[{out}]") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COMMANDS.md");
        let made = markdown();
        if std::env::var_os("HEADWATER_BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &made).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, made, "run HEADWATER_BLESS=1 cargo test document");
    }
}
