//! CONFIG.

use crate::commands::acl;
use crate::config::config::Config;
use crate::config::{access, rewrite as settings_file};
use crate::env::process;
use crate::frontend::frontend::Frontend;
use crate::model::args::ArgList;
use crate::model::reply::{Reply, ReplyError};
use crate::net::connection::Connection;
use crate::net::tls::config as tls;
use std::io;

pub fn get(frontend: &Frontend, patterns: &ArgList<'_>) -> Reply {
    let mut pairs = access::get(&frontend.context.config.borrow(), patterns.iter());
    // Tools read a number here; the file keeps the word.
    if let Some((_, value)) = pairs.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(b"maxmemory")) {
        *value = frontend.memory.max().to_string().into_bytes();
    }
    Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).collect())
}

pub fn rewrite(frontend: &Frontend) -> Reply {
    let mut config = frontend.context.config.borrow_mut();
    let Some(path) = config.config_file.clone() else {
        return Reply::error("ERR The server is running without a config file");
    };
    let written = frontend.context.acl.as_settings(&config).map_err(io::Error::other).and_then(|users| {
        settings_file::rewrite(&config, users.as_deref(), &path)?;
        Ok(users)
    });
    match written {
        Ok(users) => {
            if let Some(users) = users {
                config.users = users;
            }
            tracing::info!(path = %path.display(), "CONFIG REWRITE executed with success");
            Reply::OK
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "CONFIG REWRITE failed");
            Reply::Error(ReplyError::owned(format!("ERR Rewriting config file: {error}")))
        }
    }
}

pub fn set(frontend: &Frontend, connection: &Connection, pairs: &ArgList<'_>) -> Result<Reply, ReplyError> {
    let mut config = frontend.context.config.get();
    let changed = access::set(&mut config, in_pairs(pairs))?;
    if changed.contains(&"maxclients") {
        let possible = process::files_for_clients(config.maxclients as u64);
        if possible < config.maxclients as u64 {
            return Err(ReplyError::owned(format!(
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to \
                 handle the specified number of clients, try with {possible}"
            )));
        }
    }
    renew_tls(frontend, &config, &changed)?;
    frontend.context.config.replace(config);
    frontend.apply_settings();
    acl::apply_settings(frontend);
    if changed.contains(&"loglevel") {
        frontend.context.log_levels.set(frontend.context.config.borrow().loglevel);
    }
    if changed.contains(&"requirepass") {
        tracing::info!("requirepass was set");
        acl::set_default_password(frontend, connection);
    }
    Ok(Reply::OK)
}

/// Reloads the TLS files when a TLS setting is set, even if the value did not change: that is how
/// certificates are renewed. Existing connections keep their configuration.
fn renew_tls(frontend: &Frontend, config: &Config, names: &[&'static str]) -> Result<(), ReplyError> {
    let Some(name) = names.iter().find(|name| name.starts_with("tls-")) else { return Ok(()) };
    if config.tls.port == 0 {
        return Ok(());
    }
    match tls::build(&config.tls) {
        Ok(offer) => {
            frontend.tls.replace(Some(offer));
            tracing::info!("new connections get the TLS certificate and settings of now");
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%error, "CONFIG SET: TLS stays as it was");
            Err(ReplyError::owned(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration. \
                 Check server logs."
            )))
        }
    }
}

fn in_pairs<'a>(list: &ArgList<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let mut items = list.iter();
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn settings_are_set_together_or_not_at_all() {
        let ann = Stage::new().client();
        ann.ask("CONFIG SET timeout 7");
        assert!(ann.ask("CONFIG SET timeout 8 hz nonsense").starts_with("-ERR CONFIG SET failed"));
        assert_eq!(ann.ask("CONFIG GET timeout"), "*2 $7 timeout $1 7");
    }

    #[test]
    fn a_setting_works_from_its_reply_on() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("SUBSCRIBE __keyevent@0__:set");
        ann.ask("SET a 1");
        ann.ask("CONFIG SET notify-keyspace-events E$ slowlog-log-slower-than 0\nSET b 1");
        assert_eq!(bob.told(), "*3 $7 message $18 __keyevent@0__:set $1 b");
        assert!(!stage.frontend.slow.log.borrow().is_empty());
    }

    #[test]
    fn there_is_nothing_to_rewrite_without_a_file() {
        let ann = Stage::new().client();
        assert_eq!(ann.ask("CONFIG REWRITE"), "-ERR The server is running without a config file");
    }
}
