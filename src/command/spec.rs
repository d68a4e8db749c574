//! The row of the command table: everything known about a command before a request arrives.

use crate::command::value::Command;
use crate::model::args::Args;
use crate::model::reply::ReplyError;

/// Builds the typed value of a request whose row is known; the arguments begin with the command's name.
pub type Parse = for<'a> fn(Args<'a>) -> Result<Command<'a>, ReplyError>;

/// One command, or one sub-command of a container.
#[derive(Clone, Copy)]
pub struct Row {
    /// In lower case, without the container's name.
    pub name: &'static str,
    /// `xgroup` for XGROUP CREATE.
    pub container: Option<&'static str>,
    /// The first Redis version that has it.
    pub since: &'static str,
    pub group: Group,
    /// Number of arguments, including the name (and the container's): exact, or at least `-arity` if
    /// negative.
    pub arity: i32,
    pub flags: Flags,
    /// Categories that the flags do not imply; see [`Row::categories`].
    pub acl: &'static [Category],
    pub keys: &'static [KeySpec],
    pub arguments: &'static [Argument],
    pub summary: &'static str,
    pub complexity: &'static str,
    /// For clients of a cluster (Redis "command tips").
    pub tips: &'static [&'static str],
    /// The version that deprecated it, and its replacement.
    pub deprecated: Option<(&'static str, &'static str)>,
    pub parse: Parse,
    pub(super) index: u16,
    pub(super) is_constant_time: bool,
}

impl Row {
    /// The fields that a family's rows share, completed by `..FAMILY`.
    pub const fn family(group: Group) -> Row {
        Row {
            name: "",
            container: None,
            since: "1.0.0",
            group,
            arity: 1,
            flags: Flags::NONE,
            acl: &[],
            keys: &[],
            arguments: &[],
            summary: "",
            complexity: "O(1)",
            tips: &[],
            deprecated: None,
            parse: unfinished,
            index: u16::MAX,
            is_constant_time: false,
        }
    }

    /// A row with its index in the table.
    pub const fn at(self, index: u16) -> Row {
        Row { index, is_constant_time: is_constant_time(self.complexity), ..self }
    }

    /// The index in the table: dense, for counters.
    pub fn index(&self) -> usize {
        usize::from(self.index)
    }

    /// `xadd`, `xgroup|create`: the name in errors, statistics and ACL rules.
    pub fn full_name(&self) -> &'static str {
        crate::command::table::full_name(self.index())
    }

    /// The container's name, or the command's own.
    pub fn container_name(&self) -> &'static str {
        self.container.unwrap_or(self.name)
    }

    /// Whether a call's time depends on the number of arguments only, whatever the keys hold.
    pub fn is_constant_time(&self) -> bool {
        self.is_constant_time
    }

    /// Whether a request of `len` arguments satisfies the arity.
    pub const fn accepts(&self, len: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { len == arity } else { len >= arity }
    }

    /// All ACL categories, including those that the flags imply (Redis `setImplicitACLCategories`).
    pub fn categories(&self) -> impl Iterator<Item = Category> + '_ {
        Category::ALL.into_iter().filter(|&category| self.is_in(category))
    }

    pub fn is_in(&self, category: Category) -> bool {
        let flags = self.flags;
        self.acl.contains(&category)
            || match category {
                Category::Write => flags.has(Flag::Write),
                Category::Read => flags.has(Flag::Readonly),
                Category::Admin | Category::Dangerous => flags.has(Flag::Admin),
                Category::PubSub => flags.has(Flag::PubSub),
                Category::Fast => flags.has(Flag::Fast),
                Category::Slow => !flags.has(Flag::Fast),
                Category::Blocking => flags.has(Flag::Blocking),
                _ => false,
            }
    }
}

/// Whether `complexity` is "O(1)", possibly per counted item.
const fn is_constant_time(complexity: &str) -> bool {
    let bytes = complexity.as_bytes();
    let Some((b"O(1)", mut rest)) = bytes.split_at_checked(4) else { return false };
    while let [first, others @ ..] = rest {
        if *first == b';' {
            return false;
        }
        rest = others;
    }
    true
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.full_name())
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        self.index == other.index
    }
}

/// The parser of a row that cannot be called itself: a container without a sub-command.
fn unfinished(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Err(ReplyError::SYNTAX)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Stream,
    Generic,
    String,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    Cluster,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Group::Stream => "stream",
            Group::Generic => "generic",
            Group::String => "string",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::Cluster => "cluster",
        }
    }
}

/// A flag of a command. Down to `AllowBusy` the flags are Redis's, in COMMAND's order; the others are our
/// own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Write,
    Readonly,
    DenyOom,
    Admin,
    PubSub,
    NoScript,
    Blocking,
    Loading,
    Stale,
    SkipMonitor,
    SkipSlowlog,
    Asking,
    Fast,
    /// Allowed before authentication.
    NoAuth,
    MayReplicate,
    NoMandatoryKeys,
    Protected,
    NoAsyncLoading,
    /// Refused inside MULTI.
    NoMulti,
    /// The positions of keys depend on other arguments.
    MovableKeys,
    AllowBusy,
    /// Executed between MULTI and EXEC instead of queued.
    ImmediateInMulti,
    /// Allowed on a RESP2 connection with subscriptions.
    WhileSubscribed,
}

impl Flag {
    /// In Redis's order, with the names of COMMAND. Our own flags are hidden, and so are two of Redis's, as
    /// in Redis.
    pub const SHOWN: [(Flag, &'static str); 19] = [
        (Flag::Write, "write"),
        (Flag::Readonly, "readonly"),
        (Flag::DenyOom, "denyoom"),
        (Flag::Admin, "admin"),
        (Flag::PubSub, "pubsub"),
        (Flag::NoScript, "noscript"),
        (Flag::Blocking, "blocking"),
        (Flag::Loading, "loading"),
        (Flag::Stale, "stale"),
        (Flag::SkipMonitor, "skip_monitor"),
        (Flag::SkipSlowlog, "skip_slowlog"),
        (Flag::Asking, "asking"),
        (Flag::Fast, "fast"),
        (Flag::NoAuth, "no_auth"),
        (Flag::NoMandatoryKeys, "no_mandatory_keys"),
        (Flag::NoAsyncLoading, "no_async_loading"),
        (Flag::NoMulti, "no_multi"),
        (Flag::MovableKeys, "movablekeys"),
        (Flag::AllowBusy, "allow_busy"),
    ];
}

/// A set of [`Flag`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags::of(&[Flag::Write]);
    pub const READONLY: Flags = Flags::of(&[Flag::Readonly]);
    pub const NO_AUTH: Flags = Flags::of(&[Flag::NoAuth]);
    pub const NO_MULTI: Flags = Flags::of(&[Flag::NoMulti]);
    pub const MAY_REPLICATE: Flags = Flags::of(&[Flag::MayReplicate]);
    pub const IMMEDIATE_IN_MULTI: Flags = Flags::of(&[Flag::ImmediateInMulti]);
    pub const WHILE_SUBSCRIBED: Flags = Flags::of(&[Flag::WhileSubscribed]);
    pub const BLOCKING: Flags = Flags::of(&[Flag::Blocking]);
    pub const FAST: Flags = Flags::of(&[Flag::Fast]);
    pub const ADMIN: Flags = Flags::of(&[Flag::Admin]);
    pub const SKIP_MONITOR: Flags = Flags::of(&[Flag::SkipMonitor]);
    pub const SKIP_SLOWLOG: Flags = Flags::of(&[Flag::SkipSlowlog]);

    pub const fn of(flags: &[Flag]) -> Flags {
        let mut bits = 0;
        let mut next = 0;
        while next < flags.len() {
            bits |= 1 << flags[next] as u32;
            next += 1;
        }
        Flags(bits)
    }

    pub const fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An ACL category, in the order in which Redis lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    Keyspace,
    Read,
    Write,
    Set,
    SortedSet,
    List,
    Hash,
    String,
    Bitmap,
    HyperLogLog,
    Geo,
    Stream,
    PubSub,
    Admin,
    Fast,
    Slow,
    Blocking,
    Dangerous,
    Connection,
    Transaction,
    Scripting,
}

impl Category {
    pub const ALL: [Category; 21] = [
        Category::Keyspace,
        Category::Read,
        Category::Write,
        Category::Set,
        Category::SortedSet,
        Category::List,
        Category::Hash,
        Category::String,
        Category::Bitmap,
        Category::HyperLogLog,
        Category::Geo,
        Category::Stream,
        Category::PubSub,
        Category::Admin,
        Category::Fast,
        Category::Slow,
        Category::Blocking,
        Category::Dangerous,
        Category::Connection,
        Category::Transaction,
        Category::Scripting,
    ];

    /// The name with its `@`.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Keyspace => "@keyspace",
            Category::Read => "@read",
            Category::Write => "@write",
            Category::Set => "@set",
            Category::SortedSet => "@sortedset",
            Category::List => "@list",
            Category::Hash => "@hash",
            Category::String => "@string",
            Category::Bitmap => "@bitmap",
            Category::HyperLogLog => "@hyperloglog",
            Category::Geo => "@geo",
            Category::Stream => "@stream",
            Category::PubSub => "@pubsub",
            Category::Admin => "@admin",
            Category::Fast => "@fast",
            Category::Slow => "@slow",
            Category::Blocking => "@blocking",
            Category::Dangerous => "@dangerous",
            Category::Connection => "@connection",
            Category::Transaction => "@transaction",
            Category::Scripting => "@scripting",
        }
    }

    /// Finds a category by name, with or without the `@`, ignoring case.
    pub fn find(name: &[u8]) -> Option<Category> {
        let name = name.strip_prefix(b"@").unwrap_or(name);
        Category::ALL.into_iter().find(|category| category.name().as_bytes()[1..].eq_ignore_ascii_case(name))
    }
}

/// The positions of keys among the arguments, and the access to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    pub begin: BeginSearch,
    /// The last key: relative to the first one, or to the end if negative.
    pub last: i32,
    /// The distance between keys.
    pub step: u32,
    /// With `last` = −1: only the first `1/limit` of the remaining arguments are keys; 0: all.
    pub limit: u32,
    pub flags: &'static [KeyFlag],
    pub notes: &'static str,
}

impl KeySpec {
    /// One key at `index`.
    pub const fn at(index: u32, flags: &'static [KeyFlag]) -> KeySpec {
        KeySpec { begin: BeginSearch::Index(index), last: 0, step: 1, limit: 0, flags, notes: "" }
    }

    /// Keys from `index` to the end, every `step` arguments.
    pub const fn all_from(index: u32, step: u32, flags: &'static [KeyFlag]) -> KeySpec {
        KeySpec { begin: BeginSearch::Index(index), last: -1, step, limit: 0, flags, notes: "" }
    }

    /// Keys after a keyword, searched from `from` on: the first half of the remaining arguments.
    pub const fn half_after(keyword: &'static str, from: u32, flags: &'static [KeyFlag]) -> KeySpec {
        KeySpec {
            begin: BeginSearch::Keyword { keyword, from },
            last: -1,
            step: 1,
            limit: 2,
            flags,
            notes: "",
        }
    }

    pub const fn note(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }

    pub fn has(&self, flag: KeyFlag) -> bool {
        self.flags.contains(&flag)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    Index(u32),
    Keyword { keyword: &'static str, from: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFlag {
    Rw,
    Ro,
    Ow,
    Rm,
    Access,
    Update,
    Insert,
    Delete,
    /// Not a key, but routed like one in a cluster: shard channels.
    NotKey,
    /// The spec alone may miss keys or find too many.
    Incomplete,
    /// The access depends on other arguments.
    VariableFlags,
}

impl KeyFlag {
    /// The spec in COMMAND's form.
    pub const fn name(self) -> &'static str {
        match self {
            KeyFlag::Rw => "RW",
            KeyFlag::Ro => "RO",
            KeyFlag::Ow => "OW",
            KeyFlag::Rm => "RM",
            KeyFlag::Access => "access",
            KeyFlag::Update => "update",
            KeyFlag::Insert => "insert",
            KeyFlag::Delete => "delete",
            KeyFlag::NotKey => "not_key",
            KeyFlag::Incomplete => "incomplete",
            KeyFlag::VariableFlags => "variable_flags",
        }
    }
}

/// One argument, or a group of them, in the grammar of COMMAND DOCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    pub name: &'static str,
    pub kind: ArgumentKind,
    /// The keyword before the value, or in place of it.
    pub token: &'static str,
    pub since: &'static str,
    pub is_optional: bool,
    pub is_multiple: bool,
    /// For a multiple argument: the token precedes each value.
    pub repeats_token: bool,
    pub parts: &'static [Argument],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    String,
    Integer,
    Double,
    /// A key argument with the index of its key spec.
    Key(u8),
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl ArgumentKind {
    pub const fn name(self) -> &'static str {
        match self {
            ArgumentKind::String => "string",
            ArgumentKind::Integer => "integer",
            ArgumentKind::Double => "double",
            ArgumentKind::Key(_) => "key",
            ArgumentKind::Pattern => "pattern",
            ArgumentKind::UnixTime => "unix-time",
            ArgumentKind::PureToken => "pure-token",
            ArgumentKind::OneOf => "oneof",
            ArgumentKind::Block => "block",
        }
    }
}

impl Argument {
    const fn new(name: &'static str, kind: ArgumentKind) -> Argument {
        Argument {
            name,
            kind,
            token: "",
            since: "",
            is_optional: false,
            is_multiple: false,
            repeats_token: false,
            parts: &[],
        }
    }

    pub const fn string(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::String)
    }

    pub const fn integer(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Integer)
    }

    pub const fn double(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Double)
    }

    pub const fn pattern(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Pattern)
    }

    pub const fn unix_time(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::UnixTime)
    }

    /// A key that the key spec `spec` finds.
    pub const fn key(name: &'static str, spec: u8) -> Argument {
        Argument::new(name, ArgumentKind::Key(spec))
    }

    /// A keyword without a value.
    pub const fn word(name: &'static str, token: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::PureToken).token(token)
    }

    pub const fn one_of(name: &'static str, parts: &'static [Argument]) -> Argument {
        Argument { parts, ..Argument::new(name, ArgumentKind::OneOf) }
    }

    pub const fn block(name: &'static str, parts: &'static [Argument]) -> Argument {
        Argument { parts, ..Argument::new(name, ArgumentKind::Block) }
    }

    pub const fn token(self, token: &'static str) -> Argument {
        Argument { token, ..self }
    }

    pub const fn since(self, since: &'static str) -> Argument {
        Argument { since, ..self }
    }

    pub const fn optional(self) -> Argument {
        Argument { is_optional: true, ..self }
    }

    pub const fn multiple(self) -> Argument {
        Argument { is_multiple: true, ..self }
    }

    pub const fn multiple_with_token(self) -> Argument {
        Argument { is_multiple: true, repeats_token: true, ..self }
    }
}
