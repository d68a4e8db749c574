//! The definition of a setting: how its value is parsed, printed and checked. The rows are in
//! [`crate::config::settings`].

use crate::config::config::{Config, OutputLimit, OutputLimits};
use crate::config::value::{
    Refused, Unit, parse_choice, parse_flag, parse_output_limits, parse_percentiles, parse_save_points,
    parse_text, refuse, tell_flag,
};

/// One setting.
pub struct Setting {
    pub name: &'static str,
    /// An older name that Redis still accepts.
    pub alias: Option<&'static str>,
    pub default: &'static str,
    /// Whether CONFIG SET may change it.
    pub mutable: bool,
    pub kind: Kind,
    /// One line of documentation: the reason to change the setting.
    pub doc: &'static str,
}

/// The type of a setting's value, and its field.
pub enum Kind {
    Flag {
        get: fn(&Config) -> bool,
        set: fn(&mut Config, bool),
    },
    Number {
        get: fn(&Config) -> i64,
        set: fn(&mut Config, i64),
        min: i64,
        max: i64,
        unit: Unit,
    },
    Choice {
        names: &'static [&'static str],
        get: fn(&Config) -> usize,
        set: fn(&mut Config, usize),
    },
    Text {
        get: fn(&Config) -> String,
        set: fn(&mut Config, String),
    },
    /// Any bytes. The file, the environment and the flags hold only text.
    Binary {
        get: fn(&Config) -> &[u8],
        set: fn(&mut Config, Vec<u8>),
    },
    /// A subset of these names in significant order; none means all.
    List {
        names: &'static [&'static str],
        /// The separator between names: a blank or a colon.
        separator: char,
        get: fn(&Config) -> &[String],
        set: fn(&mut Config, Vec<String>),
    },
    OutputLimits,
    /// A value with its own grammar; `values` describes it for people.
    Parsed {
        get: fn(&Config) -> String,
        set: fn(&mut Config, &str) -> Result<(), Refused>,
        values: &'static str,
    },
    Percentiles,
    /// Only the default is accepted.
    Fixed,
    /// Any value that Redis accepts is accepted, but the default stays in force.
    Overruled(Grammar),
    /// Any value that Redis accepts is accepted and returned by CONFIG GET, without effect.
    Ignored(Grammar),
}

/// The grammar of a setting without effect.
pub enum Grammar {
    Flag,
    Number {
        min: i64,
        max: i64,
        unit: Unit,
    },
    Names(&'static [&'static str]),
    /// `3600 1 300 100`: seconds and changes, or nothing.
    SavePoints,
    Text,
}

impl Grammar {
    /// The value as CONFIG GET returns it.
    fn normal(&self, value: &str) -> Result<String, Refused> {
        Ok(match self {
            Grammar::Flag => tell_flag(parse_flag(value)?).to_owned(),
            Grammar::Number { min, max, unit } => unit.tell(unit.parse_within(value, *min..=*max)?),
            Grammar::Names(names) => names[parse_choice(names, value)?].to_owned(),
            Grammar::SavePoints => parse_save_points(value)?,
            Grammar::Text => parse_text(value)?,
        })
    }

    fn values(&self) -> String {
        match self {
            Grammar::Flag => FLAG_VALUES.into(),
            Grammar::Number { min, max, unit } => unit.bounds(*min, *max),
            Grammar::Names(names) => names.join("|"),
            Grammar::SavePoints => "(seconds changes)...".into(),
            Grammar::Text => "text".into(),
        }
    }
}

const FLAG_VALUES: &str = "yes|no";

/// Experimental settings: accepted and returned by CONFIG GET, but not recommended by `--help`.
const UNSETTLED: &[&str] = &["engine-thread"];

impl Setting {
    pub fn is_shown(&self) -> bool {
        !UNSETTLED.contains(&self.name)
    }

    /// The value as CONFIG GET returns it.
    pub fn get_bytes(&self, config: &Config) -> Vec<u8> {
        match &self.kind {
            Kind::Binary { get, .. } => get(config).to_vec(),
            _ => self.get(config).into_bytes(),
        }
    }

    /// Whether the value is text, as a file of settings must be.
    pub fn is_text(&self, config: &Config) -> bool {
        match &self.kind {
            Kind::Binary { get, .. } => std::str::from_utf8(get(config)).is_ok(),
            _ => true,
        }
    }

    /// The same as text.
    pub fn get(&self, config: &Config) -> String {
        match &self.kind {
            Kind::Flag { get, .. } => tell_flag(get(config)).to_owned(),
            Kind::Number { get, unit, .. } => unit.tell(get(config)),
            Kind::Choice { names, get, .. } => names[get(config)].to_owned(),
            Kind::Text { get, .. } | Kind::Parsed { get, .. } => get(config),
            Kind::Binary { get, .. } => String::from_utf8_lossy(get(config)).into_owned(),
            Kind::List { separator, get, .. } => get(config).join(&separator.to_string()),
            Kind::OutputLimits => {
                let class = |name: &str, limit: OutputLimit| {
                    format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
                };
                let OutputLimits { normal, replica, pubsub } = config.output_limits;
                [class("normal", normal), class("slave", replica), class("pubsub", pubsub)].join(" ")
            }
            Kind::Percentiles => {
                config.latency_percentiles.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
            }
            Kind::Fixed | Kind::Overruled(_) => self.default.to_owned(),
            Kind::Ignored(_) => config.accepted.get(self.name).map_or(self.default, |v| v).to_owned(),
        }
    }

    /// Applies a value of CONFIG SET. On error nothing changes.
    pub fn set_bytes(&self, config: &mut Config, value: &[u8]) -> Result<(), Refused> {
        match (&self.kind, std::str::from_utf8(value)) {
            (Kind::Binary { set, .. }, _) => set(config, value.to_vec()),
            (_, Ok(value)) => self.set(config, value)?,
            (_, Err(_)) => return refuse("argument must be UTF-8"),
        }
        Ok(())
    }

    /// Parses and applies a value from any source. On error nothing changes.
    pub fn set(&self, config: &mut Config, value: &str) -> Result<(), Refused> {
        match &self.kind {
            Kind::Flag { set, .. } => set(config, parse_flag(value)?),
            Kind::Number { set, min, max, unit, .. } => set(config, unit.parse_within(value, *min..=*max)?),
            Kind::Choice { names, set, .. } => set(config, parse_choice(names, value)?),
            Kind::Text { set, .. } => set(config, parse_text(value)?),
            Kind::Binary { set, .. } => set(config, value.as_bytes().to_vec()),
            Kind::List { names, separator, set, .. } => {
                let mut list = Vec::new();
                for word in value.split([' ', *separator]).filter(|word| !word.is_empty()) {
                    match names.iter().find(|name| name.eq_ignore_ascii_case(word)) {
                        Some(name) if list.iter().any(|known| known == name) => {}
                        Some(name) => list.push((*name).to_owned()),
                        None => return refuse(format!("'{word}' is none of {}", names.join(", "))),
                    }
                }
                set(config, list);
            }
            Kind::Parsed { set, .. } => set(config, value)?,
            Kind::Percentiles => config.latency_percentiles = parse_percentiles(value)?,
            Kind::OutputLimits => config.output_limits = parse_output_limits(config.output_limits, value)?,
            Kind::Fixed if value.eq_ignore_ascii_case(self.default) => {}
            Kind::Fixed => return refuse(format!("Headwater supports only {} here", told(self.default))),
            Kind::Overruled(grammar) => {
                grammar.normal(value)?;
            }
            Kind::Ignored(grammar) => {
                let value = grammar.normal(value)?;
                if value == self.default {
                    config.accepted.remove(self.name);
                } else {
                    config.accepted.insert(self.name, value);
                }
            }
        }
        Ok(())
    }

    /// Whether `name` (lower case) is this setting.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }

    /// Whether the value is an octal number.
    pub fn is_octal(&self) -> bool {
        matches!(self.kind, Kind::Number { unit: Unit::Octal, .. })
    }

    /// The accepted values, for people.
    pub fn values(&self) -> String {
        match &self.kind {
            Kind::Flag { .. } => FLAG_VALUES.into(),
            Kind::Number { min, max, unit, .. } => unit.bounds(*min, *max),
            Kind::Choice { names, .. } => names.join("|"),
            Kind::Text { .. } | Kind::Binary { .. } => "text".into(),
            Kind::Ignored(grammar) | Kind::Overruled(grammar) => grammar.values(),
            Kind::List { names, separator, .. } => names.join(&separator.to_string()),
            Kind::Parsed { values, .. } => (*values).into(),
            Kind::Percentiles => "numbers 0..100".into(),
            Kind::OutputLimits => "(normal|slave|pubsub hard soft seconds)...".into(),
            Kind::Fixed => told(self.default).into(),
        }
    }
}

/// A value as a person would write it.
fn told(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}
