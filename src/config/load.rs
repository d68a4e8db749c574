//! Loads settings from the file, the environment and the flags, in this order: the later wins.

use crate::config::config::Config;
use crate::config::settings::{self, SETTINGS};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The settings file that is read if it exists and no other is named.
pub const DEFAULT_FILE: &str = "config/headwater.toml";

/// The Redis version whose commands and replies this server implements.
pub const REDIS_VERSION: &str = "8.10.0";

/// Defines a user: `user = ["ann on >secret ~news.* +@stream"]`, `--user "ann on …"`. Not a row, because it
/// may occur more than once and CONFIG GET does not return it.
pub const USER: &str = "user";

/// Prefix of settings in the environment.
const PREFIX: &str = "HEADWATER_";

/// The result of the command line.
#[derive(Debug)]
pub enum Invocation {
    Run(Box<Config>),
    /// `--help`, `--version`: print this and exit.
    Print(String),
}

/// A refused start, described for the operator.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the settings file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} looks like a redis.conf; Headwater reads TOML (port = 6379), or the same settings as flags (--port 6379)"
    )]
    RedisConf { path: PathBuf },
    /// The line number, from 1; the line itself stays hidden, because it may contain a password.
    #[error("the settings file {path} is not TOML, line {line}: {why}")]
    Toml { path: PathBuf, line: usize, why: String },
    #[error("{place}: unknown setting '{name}'{hint}")]
    Unknown { place: String, name: String, hint: String },
    #[error("{place}: {name} = '{value}': {why}")]
    Value { place: String, name: String, value: String, why: String },
    #[error("unexpected argument '{0}'; settings are given as --name value, see --help")]
    Unexpected(String),
}

/// Settings from `flags` (without the program's name), `environment` and the files of this machine.
pub fn load(
    flags: &[String],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Invocation, LoadError> {
    if flags.iter().any(|flag| flag == "--help" || flag == "-h") {
        return Ok(Invocation::Print(help()));
    }
    if flags.iter().any(|flag| flag == "--version" || flag == "-v") {
        return Ok(Invocation::Print(version()));
    }
    let flags = pair_flags(flags)?;
    let environment: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace('_', "-");
            // Other tools of the project use variables with this prefix, so unknown names are ignored.
            (name == "config" || settings::find(&name).is_some()).then_some((name, value))
        })
        .collect();

    let mut config = Config::default();
    let named = environment.iter().chain(&flags).rfind(|(name, _)| name == "config");
    match named {
        Some((_, path)) => read_file(&mut config, Path::new(path))?,
        None if Path::new(DEFAULT_FILE).exists() => read_file(&mut config, Path::new(DEFAULT_FILE))?,
        None => {}
    }
    for (place, pairs) in [("environment", &environment), ("command line", &flags)] {
        for (name, value) in pairs.iter().filter(|(name, _)| name != "config") {
            set(&mut config, place, name, value)?;
        }
    }
    Ok(Invocation::Run(Box::new(config)))
}

/// Variables with the prefix that name no setting; logged as a warning, so that a misspelt one is noticed.
pub fn unknown_variables(environment: &[(String, String)]) -> impl Iterator<Item = &str> {
    let is_unknown = |name: &str| {
        let setting = name.strip_prefix(PREFIX).map(|name| name.to_ascii_lowercase().replace('_', "-"));
        setting.is_some_and(|name| name != "config" && settings::find(&name).is_none())
    };
    environment.iter().map(|(name, _)| name.as_str()).filter(move |name| is_unknown(name))
}

/// Splits `--name value …` as Redis does: the values extend to the next `--`. Also accepts `--name=value`.
fn pair_flags(flags: &[String]) -> Result<Vec<(String, String)>, LoadError> {
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    for flag in flags {
        if let Some(name) = flag.strip_prefix("--") {
            match name.split_once('=') {
                Some((name, value)) => pairs.push((name.to_ascii_lowercase(), Some(value.to_owned()))),
                None => pairs.push((name.to_ascii_lowercase(), None)),
            }
        } else {
            match pairs.last_mut() {
                None => return Err(LoadError::Unexpected(flag.clone())),
                Some((_, value @ None)) => *value = Some(flag.clone()),
                Some((_, Some(value))) => {
                    value.push(' ');
                    value.push_str(flag);
                }
            }
        }
    }
    let place = || "command line".to_owned();
    pairs
        .into_iter()
        .map(|(name, value)| match value {
            Some(value) => Ok((name, value)),
            None if !["config", USER].contains(&&name[..]) && settings::find(&name).is_none() => {
                Err(LoadError::Unknown { place: place(), hint: hint(&name), name })
            }
            None => Err(LoadError::Value {
                place: place(),
                name,
                value: String::new(),
                why: "a value is missing".into(),
            }),
        })
        .collect()
}

fn set(config: &mut Config, place: &str, name: &str, value: &str) -> Result<(), LoadError> {
    if name == USER {
        config.users.push(value.to_owned());
        return Ok(());
    }
    let Some(setting) = settings::find(name) else {
        return Err(LoadError::Unknown { place: place.into(), name: name.into(), hint: hint(name) });
    };
    setting.set(config, value).map_err(|refused| LoadError::Value {
        place: place.into(),
        name: name.into(),
        value: if is_secret(name) { "…".into() } else { value.into() },
        why: refused.0,
    })
}

/// Whether the value of a setting must not appear in messages.
fn is_secret(name: &str) -> bool {
    name == "requirepass" || name == "user" || name.ends_with("-file-pass")
}

fn read_file(config: &mut Config, path: &Path) -> Result<(), LoadError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    read_text(config, path, &text)?;
    config.config_file = Some(path.to_owned());
    Ok(())
}

/// Applies the settings of a file's text. `path` is for messages. After an error some settings may have been
/// applied.
pub fn read_text(config: &mut Config, path: &Path, text: &str) -> Result<(), LoadError> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(_) if is_redis_conf(text) => return Err(LoadError::RedisConf { path: path.to_owned() }),
        Err(error) => {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count();
            return Err(LoadError::Toml { path: path.to_owned(), line, why: error.message().to_owned() });
        }
    };
    for (name, value) in &table {
        let place = match line_of(text, name) {
            Some(line) => format!("{}:{line}", path.display()),
            None => path.display().to_string(),
        };
        if let (USER, toml::Value::Array(items)) = (&name[..], value)
            && let Some(users) = items.iter().map(toml_text).collect::<Option<Vec<_>>>()
        {
            config.users.extend(users);
            continue;
        }
        if let (toml::Value::Integer(number), Some(setting)) = (value, settings::find(name))
            && setting.is_octal()
            && *number != 0
        {
            // 432 may be TOML's reading of 0o660, or a mode written without the prefix.
            let why = "write it in octal and in quotes: \"700\"".into();
            return Err(LoadError::Value { place, name: name.clone(), value: value.to_string(), why });
        }
        let text = match value {
            toml::Value::Array(items) => {
                items.iter().map(toml_text).collect::<Option<Vec<_>>>().map(|t| t.join(" "))
            }
            value => toml_text(value),
        };
        let Some(text) = text else {
            let why = "neither text, number, true/false nor a list of them".into();
            return Err(LoadError::Value { place, name: name.clone(), value: value.to_string(), why });
        };
        set(config, &place, name, &text)?;
    }
    Ok(())
}

/// The line, from 1, that assigns the setting; `None` if only TOML's grammar can find it.
fn line_of(text: &str, name: &str) -> Option<usize> {
    let gives = |line: &str| {
        let key = line.split_once('=').map(|(key, _)| key.trim().trim_matches(['"', '\'']));
        key == Some(name)
    };
    text.lines().position(gives).map(|at| at + 1)
}

fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(true) => Some("yes".into()),
        toml::Value::Boolean(false) => Some("no".into()),
        _ => None,
    }
}

/// Whether the first significant line has a setting's name followed by a blank instead of `=`: a redis.conf.
fn is_redis_conf(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some((name, rest)) = lines.next().and_then(|line| line.split_once(char::is_whitespace)) else {
        return false;
    };
    let known = ["include", "loadmodule", "user", "rename-command", "replicaof"];
    !rest.trim_start().starts_with('=') && (settings::find(name).is_some() || known.contains(&name))
}

/// A longer name gets no suggestion.
const NAME_BYTES_MAX: usize = 64;

/// `; did you mean 'x'?` if a known name is close.
fn hint(name: &str) -> String {
    if name.len() > NAME_BYTES_MAX {
        return String::new();
    }
    let near = SETTINGS.iter().map(|setting| (distance(name, setting.name), setting.name)).min();
    match near {
        Some((distance, near)) if distance <= 1 + near.len() / 4 => format!("; did you mean '{near}'?"),
        _ => "; --help lists the settings".into(),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The output of `--version`. Test harnesses of Redis look for `v=` and a number.
pub fn version() -> String {
    format!(
        "headwater {} (redis protocol v={REDIS_VERSION} bits={})\n",
        env!("CARGO_PKG_VERSION"),
        usize::BITS
    )
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = format!(
        "Headwater {}: Redis streams and pub/sub, durable. Every acknowledged write is on disk before the reply.\n\n\
         usage: headwater [--config FILE] [--NAME VALUE]...\n\n\
         Settings come from {DEFAULT_FILE} (or --config FILE), then from the environment (HEADWATER_PORT, ...),\n\
         then from the command line; the later wins. Those marked * can be changed by CONFIG SET.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for setting in SETTINGS.iter().filter(|setting| setting.is_shown()) {
        let mark = if setting.mutable { '*' } else { ' ' };
        let default = if setting.default.is_empty() { "\"\"" } else { setting.default };
        let _ = writeln!(text, "{mark} --{} <{}>", setting.name, setting.values());
        let _ = writeln!(text, "      {} [{default}]", setting.doc);
    }
    text.push_str("\n  -h, --help     this text\n  -v, --version  the version\n");
    text
}

/// The content of `config/headwater.toml`: every setting, commented out, at its default.
pub fn example() -> String {
    let mut text = String::from(
        "# Headwater's settings, each at its default. Uncomment to change.\n\
         # The environment (HEADWATER_PORT=...) and the command line (--port ...) win over this file.\n\
         # Settings marked * can also be changed by CONFIG SET.\n\
         # Users are a list here, --user \"...\" on the command line, or lines of the aclfile:\n\
         # a name and its rules, in the syntax of ACL SETUSER.\n\
         #user = [\"ann on >secret ~orders* resetchannels +@stream\", \"default off\"]\n",
    );
    for setting in SETTINGS.iter().filter(|setting| setting.is_shown()) {
        let mark = if setting.mutable { " *" } else { "" };
        let _ = write!(text, "\n# {}{mark} ({})\n", setting.doc, setting.values());
        let number = setting.default.parse::<i64>().is_ok();
        let value = if number { setting.default.to_owned() } else { format!("\"{}\"", setting.default) };
        let _ = writeln!(text, "# {} = {value}", setting.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, String> {
        let flags: Vec<_> = flags.iter().map(|flag| flag.to_string()).collect();
        let environment = environment.iter().map(|(n, v)| (n.to_string(), v.to_string()));
        match load(&flags, environment) {
            Ok(Invocation::Run(config)) => Ok(*config),
            Ok(Invocation::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.toml");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (dir, path)
    }

    #[test]
    fn later_places_win() {
        let (_dir, path) = file(
            "port = 1\nmaxclients = 11\ndatabases = 3\nbind = [\"::1\", \"127.0.0.1\"]\nprotected-mode = false",
        );
        let environment = [
            ("HEADWATER_PORT", "2"),
            ("HEADWATER_MAXCLIENTS", "22"),
            ("HEADWATER_FUZZ_SECONDS", "1"),
            ("PATH", ""),
        ];
        let config = run(&["--config", &path, "--port", "3"], &environment).unwrap();
        assert_eq!((config.port, config.maxclients, config.databases), (3, 22, 3));
        assert_eq!(config.bind, ["::1", "127.0.0.1"]);
        assert!(!config.protected_mode);
    }

    #[test]
    fn misspelt_variables_are_found() {
        let environment = ["HEADWATER_REQUIREPAS", "HEADWATER_PORT", "HEADWATER_CONFIG", "HOME"];
        let environment: Vec<_> = environment.map(|name| (name.to_owned(), "1".to_owned())).into();
        assert_eq!(unknown_variables(&environment).collect::<Vec<_>>(), ["HEADWATER_REQUIREPAS"]);
    }

    #[test]
    fn users_are_a_list_and_flags() {
        let (_dir, path) = file("user = [\"ann on >a b\", \"bob off\"]\nport = 1\n");
        let config =
            run(&["--config", &path, "--user", "cid", "on", "(~a", "+get)", "--user", "dan"], &[]).unwrap();
        assert_eq!(config.users, ["ann on >a b", "bob off", "cid on (~a +get)", "dan"]);
        let (_dir, path) = file("user = \"ann on\"\n");
        assert_eq!(run(&["--config", &path], &[]).unwrap().users, ["ann on"]);
        assert!(run(&["--user"], &[]).unwrap_err().contains("a value is missing"));
    }

    #[test]
    fn flags_of_redis_servers_work() {
        let flags = "--port 7000 --bind 127.0.0.1 ::1 --appendonly yes --appendfsync everysec --databases 16 --loglevel \
                     notice --daemonize no --checkpoint-journal-bytes 64mb --slowlog-log-slower-than -1 --sync-interval=1s \
                     --client-output-buffer-limit pubsub 32mb 8mb 60";
        let mut flags: Vec<_> = flags.split_ascii_whitespace().collect();
        flags.extend(["--save", "", "--logfile", ""]);
        let config = run(&flags, &[]).unwrap();
        assert_eq!((config.port, config.bind.len()), (7000, 2));
        assert_eq!((config.checkpoint_journal_bytes, config.slowlog_log_slower_than), (64 << 20, -1));
        assert_eq!((config.sync_interval_ms, config.output_limits.pubsub.soft_seconds), (1000, 60));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (_dir, conf) = file("# a comment\nport 6379\nsave 900 1\n");
        let (_dir2, broken) = file("port = 3\nrequirepass = hunter2");
        let (_dir4, octal) = file("unixsocketperm = 0o660\n");
        let (_dir3, slip) = file("# a comment\nprot = 3\n");
        for (flags, text) in [
            (&["--prot", "1"][..], "did you mean 'port'?"),
            (&["--frobnicate", "1"], "--help lists the settings"),
            (&["--port", "99999"], "argument must be between 0 and 65535 inclusive"),
            (&["--port"], "a value is missing"),
            (&["--config", &octal], "write it in octal and in quotes"),
            (&["redis.conf"], "unexpected argument 'redis.conf'"),
            (&["--daemonize", "yes"], "supports only no"),
            (&["--config", &conf], "looks like a redis.conf"),
            (&["--config", &slip], "h.toml:2: unknown setting 'prot'; did you mean 'port'?"),
            (&["--config", &broken], "is not TOML, line 2: "),
            (&["--config", "/nonexistent/h.toml"], "cannot read the settings file"),
        ] {
            let error = run(flags, &[]).unwrap_err();
            assert!(error.contains(text) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn version_is_ours_and_names_the_protocol() {
        let text = run(&["-v"], &[]).unwrap_err();
        assert!(text.starts_with("headwater ") && text.contains(" v=8.10.0 "), "{text}");
        assert!(run(&["--help"], &[]).unwrap_err().contains("--port <number 0..65535>"));
    }

    #[test]
    fn every_default_is_told_as_it_is_written() {
        let config = Config::default();
        for setting in SETTINGS {
            assert_eq!(setting.get(&config), setting.default, "{}", setting.name);
        }
        let names: std::collections::BTreeSet<_> =
            SETTINGS.iter().flat_map(|s| [Some(s.name), s.alias]).flatten().collect();
        assert_eq!(names.len(), SETTINGS.iter().map(|s| 1 + usize::from(s.alias.is_some())).sum::<usize>());
    }

    #[test]
    fn the_example_file_is_up_to_date_and_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DEFAULT_FILE);
        if std::env::var_os("HEADWATER_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, example()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), example(), "run with HEADWATER_BLESS=1");
        let settings: String = example()
            .lines()
            .filter_map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")))
            .fold(String::new(), |all, line| all + line + "\n");
        let (_dir, path) = file(&settings);
        let config = run(&["--config", &path], &[]).unwrap();
        assert_eq!(config.config_file.as_deref(), Some(Path::new(&path)));
        assert_eq!(Config { config_file: None, ..config }, Config::default());
    }
}
