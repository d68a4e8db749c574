//! docs/formats.md says what the code does.

use crate::model::log::{LogId, LogIndex, PartitionId, Term};
use crate::storage::journal::file::{FORMAT_VERSION, HEADER_BYTES};
use crate::storage::journal::record::{self, HEAD_BYTES, Layout, Place, RecordFields, RecordKind};

const PAGE: &str = include_str!("../../../docs/formats.md");

/// The cells of the rows of the table whose header has this cell.
fn table(name: &str) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let mut lines = PAGE.lines().skip_while(|line| !(line.starts_with('|') && cells(line).contains(&name)));
    lines.by_ref().take(2).for_each(drop);
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// The end of the last field whose size is told; fields follow each other.
fn end_of_fields(rows: &[Vec<&str>]) -> usize {
    let mut end = 0;
    for row in rows {
        assert_eq!(row[0].parse(), Ok(end), "{row:?}");
        end += row[1].parse().unwrap_or(0);
    }
    end
}

#[test]
fn the_tables_of_header_and_record_are_complete() {
    let header = table("journal header");
    assert_eq!(end_of_fields(&header) as u64, HEADER_BYTES);
    assert!(header[1][2].ends_with(&format!(": {FORMAT_VERSION}")));
    assert_eq!(end_of_fields(&table("record")), HEAD_BYTES);
}

#[test]
fn all_kinds_of_records_are_told() {
    let rows = table("record kind");
    for (row, kind) in rows.iter().zip(1..) {
        assert_eq!(row[0].parse(), Ok(kind));
        assert_eq!(format!("{:?}", RecordKind::from_u8(kind).unwrap()), row[1]);
    }
    assert_eq!(RecordKind::from_u8(rows.len() as u8 + 1), None);
}

#[test]
fn the_sample_is_what_is_written() {
    let place = Place { layout: Layout::Masked, salt: 7, sequence: 2, offset: 64 };
    let fields = RecordFields {
        kind: RecordKind::Entry,
        partition: PartitionId(5),
        incarnation: 2,
        log_id: LogId { term: Term(3), index: LogIndex(9) },
        synced: 64,
    };
    let mut bytes = Vec::new();
    record::encode(&mut bytes, place, fields, b"hello");
    let lines: Vec<String> = bytes
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
        .collect();
    let (_, sample) = PAGE.split_once("```hex\n").expect("a sample");
    let (sample, _) = sample.split_once("\n```").expect("its end");
    assert_eq!(sample, lines.join("\n"));
}
