//! Requests without their secrets, for the slow log and MONITOR (docs/reliability.md A9).

use crate::command::spec::Row;
use crate::model::args::Args;

/// The replacement of a secret (Redis `redactClientCommandArgument`).
pub const REDACTED: &[u8] = b"(redacted)";

/// Settings with secret values (Redis `SENSITIVE_CONFIG`).
const SECRET_SETTINGS: [&[u8]; 6] = [
    b"requirepass",
    b"masterauth",
    b"masteruser",
    b"primaryauth",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
];

/// The arguments with the command's name first and secrets replaced: passwords and users of AUTH, HELLO and
/// ACL, values of secret settings.
pub fn shown<'a>(row: &Row, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> {
    let secret = Secret::of(row);
    args.iter().enumerate().map(move |(index, arg)| if secret.covers(args, index) { REDACTED } else { arg })
}

#[derive(Clone, Copy)]
enum Secret {
    None,
    From(usize),
    /// The two arguments after the word AUTH.
    BehindAuth,
    /// Every second argument, after the name of a secret setting.
    Settings,
}

impl Secret {
    fn of(row: &Row) -> Secret {
        match (row.container, row.name) {
            (None, "auth") => Secret::From(1),
            (None, "hello") => Secret::BehindAuth,
            (Some("acl"), "setuser" | "getuser" | "deluser" | "dryrun") => Secret::From(2),
            (Some("config"), "set") => Secret::Settings,
            _ => Secret::None,
        }
    }

    fn covers(self, args: Args<'_>, index: usize) -> bool {
        let is = |index: Option<usize>, word: &[u8]| {
            index.and_then(|index| args.get(index)).is_some_and(|arg| arg.eq_ignore_ascii_case(word))
        };
        match self {
            Secret::None => false,
            Secret::From(first) => index >= first,
            Secret::BehindAuth => {
                // Starts after the version. AUTH may also be a user's name, so only the option counts.
                let option = |at: usize| {
                    let mut next = 2;
                    while next < at && !is(Some(next), b"auth") {
                        next += if is(Some(next), b"setname") { 2 } else { 1 };
                    }
                    next == at && is(Some(at), b"auth")
                };
                (index >= 3 && option(index - 1)) || (index >= 4 && option(index - 2))
            }
            Secret::Settings => {
                index >= 3 && index % 2 == 1 && SECRET_SETTINGS.iter().any(|name| is(Some(index - 1), name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;
    use crate::model::args::OwnedArgs;

    fn shown_text(request: &str) -> String {
        let args: OwnedArgs = request.split(' ').map(str::as_bytes).collect();
        let row = lookup::row_of(args.as_args()).expect("a command");
        let shown: Vec<_> =
            shown(row, args.as_args()).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        shown.join(" ")
    }

    #[test]
    fn secrets_are_not_shown() {
        for (request, expected) in [
            ("AUTH pw", "AUTH (redacted)"),
            ("auth u pw", "auth (redacted) (redacted)"),
            ("HELLO 3", "HELLO 3"),
            ("HELLO 3 AUTH u pw SETNAME auth", "HELLO 3 AUTH (redacted) (redacted) SETNAME auth"),
            ("HELLO 3 SETNAME auth AUTH auth pw", "HELLO 3 SETNAME auth AUTH (redacted) (redacted)"),
            ("CONFIG SET timeout 1 RequirePass pw", "CONFIG SET timeout 1 RequirePass (redacted)"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
            ("SET auth pw", "SET auth pw"),
        ] {
            assert_eq!(shown_text(request), expected);
        }
    }
}
