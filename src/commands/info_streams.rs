//! INFO streams: the largest streams, their groups and the lag of those (see `engine::report`).

use crate::commands::info_line::line;
use crate::engine::report::{Report, StreamReport};
use crate::frontend::frontend::Frontend;
use std::fmt::Write;

pub fn info_streams(_: &Frontend, report: &Report, text: &mut String) {
    line(text, "streams_keys", report.keys);
    line(text, "streams_keys_looked_at", report.streams.keys_looked_at);
    line(text, "streams_shown", report.streams.largest.len());
    for (number, stream) in report.streams.largest.iter().enumerate() {
        describe(text, number, stream);
    }
}

fn describe(text: &mut String, number: usize, stream: &StreamReport) {
    let _ = write!(
        text,
        "stream{number}:name={},db={},length={},bytes={},groups={},last_id={}\r\n",
        escaped(&stream.key),
        stream.database,
        stream.length,
        stream.bytes,
        stream.group_count,
        stream.last_id,
    );
    for (at, group) in stream.groups.iter().enumerate() {
        let lag = group.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let _ = write!(
            text,
            "stream{number}_group{at}:name={},lag={lag},pending={},consumers={}\r\n",
            escaped(&group.name),
            group.pending,
            group.consumers,
        );
    }
}

/// A name may contain any byte, but a line of INFO is one line, and its fields end with commas
/// (docs/reliability.md P14).
fn escaped(name: &[u8]) -> String {
    let mut out = String::new();
    for &byte in name {
        match byte {
            b' '..=b'~' if !b"\\=,".contains(&byte) => out.push(char::from(byte)),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    #[test]
    fn a_name_does_not_end_its_field() {
        assert_eq!(escaped(b"a b:1"), "a b:1");
        assert_eq!(escaped(b"a,b=\r\n\\"), "a\\x2cb\\x3d\\x0d\\x0a\\x5c");
    }

    #[test]
    fn a_group_s_lag_is_told_or_unknown() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("XADD s 1-1 f v\nXADD s 2-1 f v\nXADD s 3-1 f v\nXGROUP CREATE s known 0\nXGROUP CREATE s unknown 2-1");
        let told = ann.ask("INFO streams");
        assert!(told.contains("stream0:name=s,db=0,length=3,"), "{told}");
        assert!(told.contains("stream0_group0:name=known,lag=3,pending=0,consumers=0"), "{told}");
        assert!(told.contains("stream0_group1:name=unknown,lag=unknown,"), "{told}");
    }
}
