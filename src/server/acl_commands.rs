//! ACL and its sub-commands.

use crate::acl::check::Demand;
use crate::acl::log::Entry;
use crate::acl::selector::Selector;
use crate::acl::user::User;
use crate::acl::users::DEFAULT_USER;
use crate::command::lookup;
use crate::command::spec::Category;
use crate::command::table::TABLE;
use crate::command::value::acl::AclCommand;
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::reply::{Reply, ReplyError};
use crate::server::connection::Connection;
use crate::server::worker::Worker;

const NO_FILE: ReplyError = ReplyError::new(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users \
     in the Redis configuration.",
);
const NOT_SAVED: ReplyError = ReplyError::new(
    "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
);

impl Worker {
    pub fn acl_reply(&self, connection: &Connection, command: &AclCommand<'_>) -> Reply {
        match command {
            AclCommand::WhoAmI => Reply::bulk(connection.session.borrow().user.name()),
            AclCommand::Users => {
                Reply::Array(self.acl.users.borrow().iter().map(|user| Reply::bulk(user.name())).collect())
            }
            AclCommand::List => Reply::Array(
                self.acl.users.borrow().iter().map(|user| Reply::bulk(user.describe())).collect(),
            ),
            AclCommand::GetUser { name } => {
                self.acl.users.borrow().get(name).map_or(Reply::Nil, |user| describe(user))
            }
            AclCommand::SetUser { name, rules } => self.set_user(connection, name, rules).into(),
            AclCommand::DeleteUsers { names } => self.delete_users(connection, names).into(),
            AclCommand::Categories => Reply::Array(
                Category::ALL.iter().map(|category| Reply::Text(&category.name()[1..])).collect(),
            ),
            AclCommand::CommandsOf { category } => commands_of(category).into(),
            AclCommand::GeneratePassword { bits } => self.generate_password(*bits),
            AclCommand::Log { count } => {
                let now_ms = self.now().0;
                let log = self.acl.log.borrow();
                Reply::Array(log.entries().take(*count).map(|entry| log_entry(entry, now_ms)).collect())
            }
            AclCommand::ResetLog => {
                self.acl.log.borrow_mut().clear();
                Reply::OK
            }
            AclCommand::DryRun { user, request } => self.dry_run(user, request).into(),
            AclCommand::Load => self.load_users(connection).into(),
            AclCommand::Save => self.save_users().into(),
            AclCommand::Help(lines) => lines.clone(),
        }
    }

    fn set_user(&self, by: &Connection, name: &[u8], rules: &ArgList<'_>) -> Result<Reply, ReplyError> {
        self.acl.users.borrow_mut().set_user(name, rules.iter())?;
        tracing::debug!(user = %name.escape_ascii(), peer = %by.peer, "rules of a user were changed");
        if name == DEFAULT_USER {
            self.follow_default_password();
        }
        self.users_changed(by);
        Ok(Reply::OK)
    }

    /// `requirepass` tells a password that lets one in, or none.
    fn follow_default_password(&self) {
        let mut config = self.config.borrow_mut();
        if !config.requirepass.is_empty() && !self.acl.is_default_password(&config.requirepass) {
            config.requirepass.clear();
        }
    }

    /// Settings were changed.
    pub fn follow_acl_settings(&self) {
        let config = self.config.borrow();
        self.acl.users.borrow_mut().all_channels = config.acl_all_channels;
        let entries_max = usize::try_from(config.acllog_max_len).unwrap_or(usize::MAX);
        self.acl.log.borrow_mut().truncate(entries_max);
    }

    /// `requirepass` was set.
    pub fn set_default_password(&self, by: &Connection) {
        self.acl.users.borrow_mut().set_default_password(self.config.borrow().requirepass.as_bytes());
        self.users_changed(by);
    }

    fn delete_users(&self, by: &Connection, names: &ArgList<'_>) -> Result<Reply, ReplyError> {
        if names.iter().any(|name| name == DEFAULT_USER) {
            return Err(ReplyError::new("ERR The 'default' user cannot be removed"));
        }
        let deleted = {
            let mut users = self.acl.users.borrow_mut();
            names.iter().filter(|name| users.delete(name)).count()
        };
        self.users_changed(by);
        Ok(Reply::count(deleted))
    }

    fn load_users(&self, by: &Connection) -> Result<Reply, ReplyError> {
        let loaded = self.acl.reload(&self.config.borrow()).ok_or(NO_FILE)?;
        let users = loaded.map_err(|errors| {
            tracing::warn!(%errors, "ACL LOAD");
            ReplyError::owned(format!("ERR {errors}"))
        })?;
        tracing::info!(users = users.iter().len(), peer = %by.peer, "users were loaded from the file");
        *self.acl.users.borrow_mut() = users;
        self.follow_default_password();
        self.users_changed(by);
        Ok(Reply::OK)
    }

    fn save_users(&self) -> Result<Reply, ReplyError> {
        let file = self.acl.file().ok_or(NO_FILE)?;
        match file.save(&self.acl.users.borrow()) {
            Ok(()) => Ok(Reply::OK),
            Err(error) => {
                tracing::error!(path = %file.path().display(), %error, "ACL SAVE");
                Err(NOT_SAVED)
            }
        }
    }

    /// So many bits by chance, hexadecimal, rounded up to a digit.
    fn generate_password(&self, bits: usize) -> Reply {
        let digits = bits.div_ceil(4);
        let mut bytes = vec![0; digits.div_ceil(2)];
        self.entropy.fill(&mut bytes);
        let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.truncate(digits);
        Reply::bulk(text)
    }

    fn dry_run(&self, name: &[u8], request: &ArgList<'_>) -> Result<Reply, ReplyError> {
        let users = self.acl.users.borrow();
        let quoting = |before: &str, name: &[u8]| {
            ReplyError::owned([before.as_bytes(), b"'", name, b"' not found"].concat())
        };
        let user = users.get(name).ok_or_else(|| quoting("ERR User ", name))?;
        let request: OwnedArgs = request.iter().collect();
        let args = request.as_args();
        let row =
            lookup::row_of(args).ok_or_else(|| quoting("ERR Command ", args.get(0).unwrap_or_default()))?;
        if !row.accepts(args.len()) {
            return Err(ReplyError::wrong_arity(row.full_name()));
        }
        let parsed = (row.parse)(args);
        let demand = match &parsed {
            Ok(command) => Demand::of(row, args, command),
            Err(_) => Demand::of_unparsed(row, args),
        };
        Ok(match demand.check(user) {
            Ok(()) => Reply::OK,
            Err(denied) => Reply::bulk(denied.explain(user, row)),
        })
    }
}

/// GETUSER
fn describe(user: &User) -> Reply {
    let mut fields = vec![
        (Reply::Text("flags"), Reply::Set(user.flags().map(Reply::Text).collect())),
        (Reply::Text("passwords"), Reply::Array(user.passwords().map(Reply::bulk).collect())),
    ];
    let (own, more) = user.selectors().split_first().expect("a user has its own permissions");
    fields.extend(describe_selector(own));
    let more = more.iter().map(|selector| Reply::Map(describe_selector(selector).into()));
    fields.push((Reply::Text("selectors"), Reply::Array(more.collect())));
    Reply::Map(fields)
}

fn describe_selector(selector: &Selector) -> [(Reply, Reply); 3] {
    [
        (Reply::Text("commands"), Reply::bulk(selector.describe_commands())),
        (Reply::Text("keys"), Reply::bulk(selector.describe_keys())),
        (Reply::Text("channels"), Reply::bulk(selector.describe_channels())),
    ]
}

fn commands_of(category: &[u8]) -> Result<Reply, ReplyError> {
    let found = Category::find(category).filter(|_| !category.starts_with(b"@"));
    let Some(found) = found else {
        let shown = &category[..category.len().min(128)];
        return Err(ReplyError::owned([b"ERR Unknown category '", shown, b"'"].concat()));
    };
    let rows = TABLE.iter().filter(|row| row.is_in(found));
    Ok(Reply::Array(rows.map(|row| Reply::Text(row.full_name())).collect()))
}

/// Of ACL LOG (Redis 7.2).
fn log_entry(entry: &Entry, now_ms: u64) -> Reply {
    let age_seconds = now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0;
    Reply::Map(vec![
        (Reply::Text("count"), Reply::Integer(entry.count as i64)),
        (Reply::Text("reason"), Reply::Text(entry.event.reason.name())),
        (Reply::Text("context"), Reply::Text(entry.event.context.name())),
        (Reply::Text("object"), Reply::bulk(&entry.event.object)),
        (Reply::Text("username"), Reply::bulk(&entry.event.user)),
        (Reply::Text("age-seconds"), Reply::Double(age_seconds)),
        (Reply::Text("client-info"), Reply::bulk(&entry.client)),
        (Reply::Text("entry-id"), Reply::Integer(entry.id as i64)),
        (Reply::Text("timestamp-created"), Reply::Integer(entry.created_ms as i64)),
        (Reply::Text("timestamp-last-updated"), Reply::Integer(entry.updated_ms as i64)),
    ])
}
