//! ACL and its subcommands.

use crate::acl::check::Demand;
use crate::acl::log::Entry;
use crate::acl::selector::Selector;
use crate::acl::user::User;
use crate::acl::users::DEFAULT_USER;
use crate::command::lookup;
use crate::command::spec::Category;
use crate::command::table::TABLE;
use crate::command::value::acl::AclCommand;
use crate::frontend::frontend::Frontend;
use crate::frontend::permissions;
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::reply::{Reply, ReplyError};
use crate::net::connection::Connection;

const NO_FILE: ReplyError = ReplyError::new(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users \
     in the Redis configuration.",
);
const NOT_SAVED: ReplyError = ReplyError::new(
    "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
);

pub fn execute(frontend: &Frontend, connection: &Connection, command: &AclCommand<'_>) -> Reply {
    match command {
        AclCommand::WhoAmI => Reply::bulk(connection.session.borrow().user.name()),
        AclCommand::Users => Reply::Array(
            frontend.context.acl.users.borrow().iter().map(|user| Reply::bulk(user.name())).collect(),
        ),
        AclCommand::List => Reply::Array(
            frontend.context.acl.users.borrow().iter().map(|user| Reply::bulk(user.describe())).collect(),
        ),
        AclCommand::GetUser { name } => {
            frontend.context.acl.users.borrow().get(name).map_or(Reply::Nil, |user| describe(user))
        }
        AclCommand::SetUser { name, rules } => set_user(frontend, connection, name, rules).into(),
        AclCommand::DeleteUsers { names } => delete_users(frontend, connection, names).into(),
        AclCommand::Categories => {
            Reply::Array(Category::ALL.iter().map(|category| Reply::Text(&category.name()[1..])).collect())
        }
        AclCommand::CommandsOf { category } => commands_of(category).into(),
        AclCommand::GeneratePassword { bits } => generate_password(frontend, *bits),
        AclCommand::Log { count } => {
            let now_ms = frontend.wall_time().0;
            let log = frontend.context.acl.log.borrow();
            Reply::Array(log.entries().take(*count).map(|entry| log_entry(entry, now_ms)).collect())
        }
        AclCommand::ResetLog => {
            frontend.context.acl.log.borrow_mut().clear();
            Reply::OK
        }
        AclCommand::DryRun { user, request } => dry_run(frontend, user, request).into(),
        AclCommand::Load => load_users(frontend, connection).into(),
        AclCommand::Save => save_users(frontend).into(),
        AclCommand::Help(lines) => lines.clone(),
    }
}

fn set_user(
    frontend: &Frontend,
    by: &Connection,
    name: &[u8],
    rules: &ArgList<'_>,
) -> Result<Reply, ReplyError> {
    frontend.context.acl.users.borrow_mut().set_user(name, rules.iter())?;
    tracing::debug!(user = %name.escape_ascii(), peer = %by.peer, "rules of a user were changed");
    if name == DEFAULT_USER {
        follow_default_password(frontend);
    }
    permissions::users_changed(frontend, by);
    Ok(Reply::OK)
}

/// `requirepass` shows a password of the default user, or none.
fn follow_default_password(frontend: &Frontend) {
    let mut config = frontend.context.config.borrow_mut();
    if !config.requirepass.is_empty() && !frontend.context.acl.is_default_password(&config.requirepass) {
        config.requirepass.clear();
    }
}

/// Settings have changed.
pub fn apply_settings(frontend: &Frontend) {
    let config = frontend.context.config.borrow();
    frontend.context.acl.users.borrow_mut().all_channels = config.acl_all_channels;
    let entries_max = usize::try_from(config.acllog_max_len).unwrap_or(usize::MAX);
    frontend.context.acl.log.borrow_mut().truncate(entries_max);
}

/// `requirepass` was set.
pub fn set_default_password(frontend: &Frontend, by: &Connection) {
    frontend
        .context
        .acl
        .users
        .borrow_mut()
        .set_default_password(&frontend.context.config.borrow().requirepass);
    permissions::users_changed(frontend, by);
}

fn delete_users(frontend: &Frontend, by: &Connection, names: &ArgList<'_>) -> Result<Reply, ReplyError> {
    if names.iter().any(|name| name == DEFAULT_USER) {
        return Err(ReplyError::new("ERR The 'default' user cannot be removed"));
    }
    let deleted = {
        let mut users = frontend.context.acl.users.borrow_mut();
        names.iter().filter(|name| users.delete(name)).count()
    };
    permissions::users_changed(frontend, by);
    Ok(Reply::count(deleted))
}

fn load_users(frontend: &Frontend, by: &Connection) -> Result<Reply, ReplyError> {
    let loaded = frontend.context.acl.reload(&frontend.context.config.borrow()).ok_or(NO_FILE)?;
    let users = loaded.map_err(|errors| {
        tracing::warn!(%errors, "ACL LOAD");
        ReplyError::owned(format!("ERR {errors}"))
    })?;
    tracing::info!(users = users.iter().len(), peer = %by.peer, "users were loaded from the file");
    *frontend.context.acl.users.borrow_mut() = users;
    follow_default_password(frontend);
    permissions::users_changed(frontend, by);
    Ok(Reply::OK)
}

fn save_users(frontend: &Frontend) -> Result<Reply, ReplyError> {
    let file = frontend.context.acl.file().ok_or(NO_FILE)?;
    match file.save(&frontend.context.acl.users.borrow()) {
        Ok(()) => Ok(Reply::OK),
        Err(error) => {
            tracing::error!(path = %file.path().display(), %error, "ACL SAVE");
            Err(NOT_SAVED)
        }
    }
}

/// A random password of this many bits, hexadecimal, rounded up to a digit.
fn generate_password(frontend: &Frontend, bits: usize) -> Reply {
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    frontend.context.entropy.fill(&mut bytes);
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    Reply::bulk(text)
}

fn dry_run(frontend: &Frontend, name: &[u8], request: &ArgList<'_>) -> Result<Reply, ReplyError> {
    let users = frontend.context.acl.users.borrow();
    let quoting = |before: &str, name: &[u8]| {
        ReplyError::owned([before.as_bytes(), b"'", name, b"' not found"].concat())
    };
    let user = users.get(name).ok_or_else(|| quoting("ERR User ", name))?;
    let request: OwnedArgs = request.iter().collect();
    let args = request.as_args();
    let row = lookup::row_of(args).ok_or_else(|| quoting("ERR Command ", args.get(0).unwrap_or_default()))?;
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

/// ACL GETUSER.
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

/// An entry of ACL LOG (Redis 7.2).
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

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn the_default_user_stays_whatever_else_is_deleted() {
        let ann = Stage::new().client();
        ann.ask("ACL SETUSER ann on");
        assert_eq!(ann.ask("ACL DELUSER ann default"), "-ERR The 'default' user cannot be removed");
        assert_eq!(ann.ask("ACL DELUSER ann nobody\nACL USERS"), ":1 *1 $7 default");
    }

    #[test]
    fn a_dry_run_decides_as_the_real_one_would() {
        let ann = Stage::new().client();
        ann.ask("ACL SETUSER ann on ~a +get");
        assert_eq!(ann.ask("ACL DRYRUN ann GET a"), "+OK");
        assert!(ann.ask("ACL DRYRUN ann GET b").contains("no permissions to access the 'b' key"));
        assert!(ann.ask("ACL DRYRUN ann SET a 1").contains("no permissions to run the 'set' command"));
        assert_eq!(ann.ask("ACL DRYRUN bob GET a"), "-ERR User 'bob' not found");
        assert_eq!(ann.ask("ACL DRYRUN ann NOSUCH"), "-ERR Command 'NOSUCH' not found");
        assert!(ann.ask("ACL DRYRUN ann GET").starts_with("-ERR wrong number of arguments"));
    }

    #[test]
    fn a_password_has_a_digit_for_each_four_bits_begun() {
        let ann = Stage::new().client();
        for (bits, digits) in [(1, 1), (4, 1), (5, 2), (256, 64)] {
            let told = ann.ask(&format!("ACL GENPASS {bits}"));
            let (length, text) = told.split_once(' ').expect("a bulk string");
            assert_eq!((length, text.len()), (&format!("${digits}")[..], digits));
        }
    }

    #[test]
    fn requirepass_follows_the_default_user() {
        let ann = Stage::new().client();
        ann.ask("CONFIG SET requirepass secret\nACL SETUSER default >other");
        assert_eq!(ann.ask("CONFIG GET requirepass"), "*2 $11 requirepass $6 secret");
        ann.ask("ACL SETUSER default <secret");
        assert_eq!(ann.ask("CONFIG GET requirepass"), "*2 $11 requirepass $0");
    }
}
