//! CONFIG GET and CONFIG SET over the rows.

use crate::base::glob;
use crate::config::config::Config;
use crate::config::setting::Setting;
use crate::config::settings::{self, SETTINGS};
use crate::model::reply::ReplyError;

/// Names and values of the settings that match one of the patterns, in row order; unknown names yield
/// nothing. Matching ignores case. A name without wildcards is returned in the case of the request (Redis
/// 7.0).
pub fn get<'p>(config: &Config, patterns: impl IntoIterator<Item = &'p [u8]>) -> Vec<(&'p [u8], Vec<u8>)> {
    let patterns: Vec<_> =
        patterns.into_iter().map(|pattern| (pattern, pattern.to_ascii_lowercase())).collect();
    let told = |name: &'static str| {
        let (written, _) = patterns.iter().find(|(_, lower)| glob::matches(lower, name.as_bytes()))?;
        let is_name = written.eq_ignore_ascii_case(name.as_bytes());
        Some(if is_name { *written } else { name.as_bytes() })
    };
    let names =
        SETTINGS.iter().flat_map(|s| [Some(s.name), s.alias].into_iter().flatten().map(move |n| (s, n)));
    names.filter_map(|(setting, name)| Some((told(name)?, setting.get_bytes(config)))).collect()
}

/// Applies all pairs, or none on error; names are checked before values. Returns the names of the settings
/// that were set. Errors have the texts of Redis 7.2.
pub fn set<'p>(
    config: &mut Config,
    pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
) -> Result<Vec<&'static str>, ReplyError> {
    let failed = |name: &[u8], why: &str| {
        let name = name.escape_ascii();
        ReplyError::owned(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
    };
    let mut settings: Vec<(&[u8], &Setting, &[u8])> = Vec::new();
    for (name, value) in pairs {
        let Some(setting) = std::str::from_utf8(name).ok().and_then(settings::find) else {
            let name = name.escape_ascii();
            return Err(ReplyError::owned(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        if !setting.mutable {
            return Err(failed(name, "can't set immutable config"));
        }
        if settings.iter().any(|(_, known, _)| known.name == setting.name) {
            return Err(failed(name, "duplicate parameter"));
        }
        settings.push((name, setting, value));
    }
    let mut changed = config.clone();
    for (name, setting, value) in &settings {
        setting.set_bytes(&mut changed, value).map_err(|refused| failed(name, &refused.0))?;
    }
    *config = changed;
    Ok(settings.into_iter().map(|(_, setting, _)| setting.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_text(config: &mut Config, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
        set(config, pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
            .map_err(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    #[test]
    fn get_matches_patterns_and_ignores_what_is_unknown() {
        let config = Config::default();
        let got = get(&config, [&b"STREAM-NODE*"[..], b"nope", b"slave-READ-only"]);
        let expected = [
            ("stream-node-max-entries", "100"),
            ("stream-node-max-bytes", "4096"),
            ("slave-READ-only", "yes"),
        ];
        assert_eq!(got, expected.map(|(n, v)| (n.as_bytes(), v.as_bytes().to_vec())));
        assert_eq!(get(&config, [&b"nope"[..]]), []);
    }

    #[test]
    fn set_takes_all_or_nothing() {
        let mut config = Config::default();
        assert_eq!(
            set_text(&mut config, &[("maxclients", "5"), ("TIMEOUT", "7")]),
            Ok(vec!["maxclients", "timeout"])
        );
        assert_eq!((config.maxclients, config.timeout_seconds), (5, 7));
        let failed = |config: &mut Config, pairs: &[(&str, &str)]| set_text(config, pairs).unwrap_err();
        for (name, value, text) in [
            ("foo", "1", "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"),
            (
                "port",
                "1",
                "ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config",
            ),
            (
                "timeout",
                "x",
                "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer",
            ),
            (
                "maxclients",
                "0",
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 1000000 inclusive",
            ),
            (
                "protected-mode",
                "maybe",
                "ERR CONFIG SET failed (possibly related to argument 'protected-mode') - argument must be 'yes' or 'no'",
            ),
            (
                "maxclients",
                "9",
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - duplicate parameter",
            ),
        ] {
            assert_eq!(
                failed(
                    &mut config,
                    &[("maxclients", "8"), (name, value)]
                        [usize::from(name == "maxclients" && value == "0")..]
                ),
                text
            );
            assert_eq!(config.maxclients, 5);
        }
    }

    #[test]
    fn output_limits_keep_the_classes_that_are_not_named() {
        let mut config = Config::default();
        set_text(&mut config, &[("client-output-buffer-limit", "pubsub 1mb 512kb 10")]).unwrap();
        let told = "normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 524288 10";
        assert_eq!(get(&config, [&b"client-output-buffer-limit"[..]])[0].1, told.as_bytes());
    }
}
