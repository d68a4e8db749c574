//! The parsers: one function per table row turns the arguments of a request into a typed value.
//!
//! The row's arity holds before a parser is called. Errors have Redis's texts; if several things are wrong,
//! the error is the one that Redis finds first (7.2 to 8.0, the function named at each parser). Where Redis
//! looks up a key before it parses an argument, the refusal becomes a value, and the machine looks up the key
//! first (`command::value::refusal`).

pub mod acl;
pub mod client;
pub mod connection;
pub mod cursor;
pub mod debug;
pub mod group;
pub mod help;
pub mod introspection;
pub mod key;
pub mod latency;
pub mod number;
pub mod pubsub;
pub mod server;
pub mod stream;
pub mod string;
pub mod transaction;

#[cfg(test)]
mod tests {
    use crate::command::lookup;
    use crate::command::value::{Command, Data, Query};
    use crate::model::args::OwnedArgs;

    /// The refusal of a request in the form of words; `None` if it parses.
    fn refusal(request: &str) -> Option<String> {
        let args: OwnedArgs = request.split(' ').map(str::as_bytes).collect();
        let args = args.as_args();
        let error = match lookup::find(args).and_then(|row| (row.parse)(args)) {
            // Refused after the machine has looked up the key.
            Ok(Command::Data(Data::Query(Query::Refused(refusal)))) => refusal.error,
            Ok(_) => return None,
            Err(error) => error,
        };
        Some(String::from_utf8(error.as_bytes().to_vec()).unwrap())
    }

    const INVALID_ID: &str = "ERR Invalid stream ID specified as stream command argument";
    const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
    const SYNTAX: &str = "ERR syntax error";

    /// Recorded from Redis 8.0.6, as far as the refusal does not depend on state.
    #[test]
    fn refusals_are_those_of_redis() {
        let cases = [
            ("XADD", "ERR wrong number of arguments for 'xadd' command"),
            ("XADD s", "ERR wrong number of arguments for 'xadd' command"),
            ("XADD s * a", "ERR wrong number of arguments for 'xadd' command"),
            ("XADD s * a 1 b", "ERR wrong number of arguments for 'xadd' command"),
            ("XADD s 0-0 a 1", "ERR The ID specified in XADD must be greater than 0-0"),
            ("XADD s abc a 1", INVALID_ID),
            ("XADD s 18446744073709551616-0 a 1", INVALID_ID),
            ("XADD s 5-5-5 a 1", INVALID_ID),
            ("XADD s 5- a 1", INVALID_ID),
            ("XADD s -5 a 1", INVALID_ID),
            ("XADD s MAXLEN -1 * a 1", "ERR The MAXLEN argument must be >= 0."),
            ("XADD s MAXLEN abc * a 1", NOT_AN_INTEGER),
            (
                "XADD s MAXLEN 1 LIMIT 5 * a 1",
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ),
            ("XADD s MAXLEN ~ 1 LIMIT -5 * a 1", "ERR The LIMIT argument must be >= 0."),
            (
                "XADD s LIMIT 5 * a 1",
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ),
            (
                "XADD s MAXLEN 1 MINID 1 * a 1",
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ),
            ("XADD s MINID abc * a 1", INVALID_ID),
            ("XADD s BADOPT * a 1", INVALID_ID),
            ("XTRIM s", "ERR wrong number of arguments for 'xtrim' command"),
            ("XTRIM s MAXLEN", "ERR wrong number of arguments for 'xtrim' command"),
            ("XTRIM s BAD 1", SYNTAX),
            (
                "XTRIM s MAXLEN 1 LIMIT 3",
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ),
            ("XTRIM s MAXLEN ~ 1 LIMIT abc", NOT_AN_INTEGER),
            ("XTRIM s MAXLEN 5 EXTRA", SYNTAX),
            ("XRANGE s ( +", INVALID_ID),
            ("XRANGE s abc +", INVALID_ID),
            ("XRANGE s - (0-0", "ERR invalid end ID for the interval"),
            (
                "XRANGE s (18446744073709551615-18446744073709551615 +",
                "ERR invalid start ID for the interval",
            ),
            ("XRANGE s - + COUNT", SYNTAX),
            ("XRANGE s - + COUNT abc", NOT_AN_INTEGER),
            ("XRANGE s - + BAD 1", SYNTAX),
            ("XREAD STREAMS s", "ERR wrong number of arguments for 'xread' command"),
            (
                "XREAD STREAMS s t 0",
                "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
            ),
            ("XREAD COUNT abc STREAMS s 0", NOT_AN_INTEGER),
            ("XREAD BLOCK -1 STREAMS s 0", "ERR timeout is negative"),
            ("XREAD BLOCK abc STREAMS s 0", "ERR timeout is not an integer or out of range"),
            ("XREAD BLOCK 99999999999999999999 STREAMS s 0", "ERR timeout is not an integer or out of range"),
            (
                "XREAD GROUP g c STREAMS s 0",
                "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
            ),
            (
                "XREAD NOACK STREAMS s 0",
                "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
            ),
            ("XREAD BAD STREAMS s 0", SYNTAX),
            ("XREADGROUP STREAMS s >", "ERR wrong number of arguments for 'xreadgroup' command"),
            ("XREADGROUP GROUP g STREAMS s >", "ERR wrong number of arguments for 'xreadgroup' command"),
            ("XGROUP CREATE s g abc", INVALID_ID),
            ("XGROUP CREATE s g $ ENTRIESREAD -2", "ERR value for ENTRIESREAD must be positive or -1"),
            ("XGROUP CREATE s g $ ENTRIESREAD abc", NOT_AN_INTEGER),
            (
                "XGROUP CREATE s g $ BAD",
                "ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
            ),
            ("XGROUP CREATE s", "ERR wrong number of arguments for 'xgroup|create' command"),
            ("XGROUP BAD s", "ERR unknown subcommand 'BAD'. Try XGROUP HELP."),
            ("XPENDING s g -", SYNTAX),
            ("XPENDING s g - + abc", NOT_AN_INTEGER),
            ("XPENDING s g IDLE abc - + 1", NOT_AN_INTEGER),
            ("XPENDING s g IDLE", SYNTAX),
            ("XCLAIM s g c abc 1-1", "ERR Invalid min-idle-time argument for XCLAIM"),
            ("XCLAIM s g c 0 abc", "ERR Unrecognized XCLAIM option 'abc'"),
            ("XCLAIM s g c 0 1-1 IDLE abc", "ERR Invalid IDLE option argument for XCLAIM"),
            ("XCLAIM s g c 0 1-1 BAD", "ERR Unrecognized XCLAIM option 'BAD'"),
            ("XCLAIM s g c 0 1-1 LASTID abc", INVALID_ID),
            ("XAUTOCLAIM s g c 0 0 COUNT 0", "ERR COUNT must be > 0"),
            ("XAUTOCLAIM s g c 0 0 COUNT abc", "ERR COUNT must be > 0"),
            (
                "XAUTOCLAIM s g c 0 (18446744073709551615-18446744073709551615",
                "ERR invalid start ID for the interval",
            ),
            ("XAUTOCLAIM s g c abc 0", "ERR Invalid min-idle-time argument for XAUTOCLAIM"),
            ("XAUTOCLAIM s g c 0 0 BAD", SYNTAX),
            ("XINFO STREAM", "ERR wrong number of arguments for 'xinfo|stream' command"),
            (
                "XINFO STREAM s FULL COUNT",
                "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
            ),
            ("XINFO STREAM s FULL COUNT abc", NOT_AN_INTEGER),
            (
                "XINFO STREAM s BAD",
                "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
            ),
            ("XINFO BAD", "ERR unknown subcommand 'BAD'. Try XINFO HELP."),
            ("XSETID s abc", INVALID_ID),
            ("XSETID s 99-1 ENTRIESADDED abc MAXDELETEDID 0-0", NOT_AN_INTEGER),
            ("XACK s g abc", INVALID_ID),
            ("XACK s g", "ERR wrong number of arguments for 'xack' command"),
            ("XDEL s abc", INVALID_ID),
            ("FOO bar baz", "ERR unknown command 'FOO', with args beginning with: 'bar' 'baz' "),
            ("PING a b", "ERR wrong number of arguments for 'ping' command"),
            ("HELLO 4", "NOPROTO unsupported protocol version"),
            ("HELLO abc", "ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 AUTH a", "ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 BAD", "ERR Syntax error in HELLO option 'BAD'"),
            ("CLIENT SETINFO BAD x", "ERR Unrecognized option 'BAD'"),
            (
                "CLIENT MAINT_NOTIFICATIONS ON",
                "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.",
            ),
            ("CLIENT PAUSE abc", "ERR timeout is not an integer or out of range"),
            ("SELECT abc", NOT_AN_INTEGER),
            ("CLUSTER SLOTS", "ERR This instance has cluster support disabled"),
            ("READONLY", "ERR This instance has cluster support disabled"),
            ("DEBUG JMAP", "ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP."),
            ("SET k v NX XX", SYNTAX),
            ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
            ("SET k v EX 1 PX 1", SYNTAX),
            ("SETEX k -1 v", "ERR invalid expire time in 'setex' command"),
            ("EXPIRE k 1 NX GT", "ERR NX and XX, GT or LT options at the same time are not compatible"),
            ("EXPIRE k 1 BAD", "ERR Unsupported option BAD"),
            ("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
            ("SCAN abc", "ERR invalid cursor"),
        ];
        for (request, text) in cases {
            assert_eq!(refusal(request).as_deref(), Some(text), "{request}");
        }
    }

    /// Also recorded: requests that look wrong but are not refused before state is consulted.
    #[test]
    fn what_redis_accepts_is_accepted() {
        let cases = [
            "XADD s 5-* a 1",
            "XADD s 5-5 a 1",
            "XADD s NOMKSTREAM maxlen = 3 DELREF * a 1",
            "XADD s MAXLEN ~ 3 LIMIT 0 7 a 1",
            "XADD s * maxlen 1",
            "XRANGE s (5-18446744073709551615 +",
            "XRANGE s - + COUNT -1",
            "XREAD COUNT -5 STREAMS s 0",
            "XREAD STREAMS STREAMS $",
            "XREADGROUP GROUP STREAMS STREAMS NOACK COUNT 1 STREAMS s >",
            "XREADGROUP GROUP g c STREAMS s abc",
            "XREADGROUP GROUP g c STREAMS s $",
            "XGROUP CREATE s g $ ENTRIESREAD -1",
            "XPENDING s g - + -5",
            "XCLAIM s g c -5 1-1",
            "XCLAIM s g c 0 1-1 RETRYCOUNT -1",
            "XAUTOCLAIM s g c 0 (5-5 COUNT 1",
            "XINFO STREAM s FULL COUNT -1",
            "XSETID s 99-1 ENTRIESADDED 1",
            "SET k v nx get ex 10",
            "SET k v EX 1 EX 2",
            "GETEX k PERSIST",
            "COMMAND",
        ];
        for request in cases {
            assert_eq!(refusal(request), None, "{request}");
        }
    }
}
