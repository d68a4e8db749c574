//! What a setting is, and how its value is read, told and checked. The rows are in [`crate::config::settings`].

use crate::config::config::{Config, OutputLimit, OutputLimits};
use crate::config::value::{Refused, Unit, parse_output_limits, parse_percentiles, refuse};

/// One setting.
pub struct Setting {
    pub name: &'static str,
    /// An older name that Redis still knows.
    pub alias: Option<&'static str>,
    pub default: &'static str,
    /// Whether CONFIG SET may change it.
    pub mutable: bool,
    pub kind: Kind,
    /// One line of why.
    pub doc: &'static str,
}

/// What a setting's value is, and where it lives.
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
    /// Some of these names, in an order that counts; none of them means all.
    List {
        names: &'static [&'static str],
        /// Between two of them: a blank or a colon.
        separator: char,
        get: fn(&Config) -> &[String],
        set: fn(&mut Config, Vec<String>),
    },
    OutputLimits,
    /// A grammar of its own; `values` is for people.
    Parsed {
        get: fn(&Config) -> String,
        set: fn(&mut Config, &str) -> Result<(), Refused>,
        values: &'static str,
    },
    Percentiles,
    /// Only these values are possible here; each is accepted and the default is what stands.
    Fixed {
        accepts: &'static [&'static str],
    },
    /// Accepted and told by CONFIG GET, without any effect.
    Ignored,
}

impl Setting {
    /// The value as CONFIG GET tells it.
    pub fn get(&self, config: &Config) -> String {
        match &self.kind {
            Kind::Flag { get, .. } => if get(config) { "yes" } else { "no" }.to_owned(),
            Kind::Number { get, unit, .. } => unit.tell(get(config)),
            Kind::Choice { names, get, .. } => names[get(config)].to_owned(),
            Kind::Text { get, .. } | Kind::Parsed { get, .. } => get(config),
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
            Kind::Fixed { .. } => self.default.to_owned(),
            Kind::Ignored => config.accepted.get(self.name).map_or(self.default, |v| v).to_owned(),
        }
    }

    /// Takes a value as text, from wherever. On refusal nothing has changed.
    pub fn set(&self, config: &mut Config, value: &str) -> Result<(), Refused> {
        match &self.kind {
            Kind::Flag { set, .. } => match value.to_ascii_lowercase().as_str() {
                // Redis knows the first of each; environments tend to have the second.
                "yes" | "true" => set(config, true),
                "no" | "false" => set(config, false),
                _ => return refuse("argument must be 'yes' or 'no'"),
            },
            Kind::Number { set, min, max, unit, .. } => {
                let number = unit.parse(value)?;
                if !(*min..=*max).contains(&number) {
                    let (min, max) = (unit.tell(*min), unit.tell(*max));
                    return refuse(format!("argument must be between {min} and {max} inclusive"));
                }
                set(config, number);
            }
            Kind::Choice { names, set, .. } => {
                match names.iter().position(|name| name.eq_ignore_ascii_case(value)) {
                    Some(choice) => set(config, choice),
                    None => {
                        return refuse(format!(
                            "argument(s) must be one of the following: {}",
                            names.join(", ")
                        ));
                    }
                }
            }
            Kind::Text { set, .. } if value.contains('\0') => {
                let _ = set;
                return refuse("argument must not contain a NUL");
            }
            Kind::Text { set, .. } => set(config, value.to_owned()),
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
            Kind::Fixed { accepts } => {
                if !accepts.iter().any(|accepted| accepted.eq_ignore_ascii_case(value)) {
                    let accepts: Vec<_> =
                        accepts.iter().map(|v| if v.is_empty() { "\"\"" } else { v }).collect();
                    return refuse(format!("Headwater supports only {} here", accepts.join(", ")));
                }
            }
            Kind::Ignored if value == self.default => {
                config.accepted.remove(self.name);
            }
            Kind::Ignored => {
                config.accepted.insert(self.name, value.to_owned());
            }
        }
        Ok(())
    }

    /// Whether `name` (lower case) is this setting.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }

    /// What may be written, for people.
    pub fn values(&self) -> String {
        match &self.kind {
            Kind::Flag { .. } => "yes|no".into(),
            Kind::Number { min, max: i64::MAX, unit, .. } => format!("{} >= {min}", unit.word()),
            Kind::Number { min, max, unit, .. } => {
                format!("{} {}..{}", unit.word(), unit.tell(*min), unit.tell(*max))
            }
            Kind::Choice { names, .. } => names.join("|"),
            Kind::Text { .. } | Kind::Ignored => "text".into(),
            Kind::List { names, separator, .. } => names.join(&separator.to_string()),
            Kind::Parsed { values, .. } => (*values).into(),
            Kind::Percentiles => "numbers 0..100".into(),
            Kind::OutputLimits => "(normal|slave|pubsub hard soft seconds)...".into(),
            Kind::Fixed { accepts } => {
                accepts.iter().map(|v| if v.is_empty() { "\"\"" } else { v }).collect::<Vec<_>>().join("|")
            }
        }
    }
}
