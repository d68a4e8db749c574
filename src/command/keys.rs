//! Keys of a request by the key specs of its row: what COMMAND GETKEYS answers. What commands *use* are the keys of
//! the typed value (`value::reach`); that both agree is tested below (reliability A1).

use crate::command::spec::{BeginSearch, KeyFlag, KeySpec, Row};
use crate::model::args::Args;

/// A key, and what is done with it.
pub type Found<'a> = (&'a [u8], &'static KeySpec);

/// The keys of a request that its row accepts; `None` if the arguments leave it open where they are.
pub fn find<'a>(row: &'static Row, args: Args<'a>) -> Option<Vec<Found<'a>>> {
    let mut found = Vec::new();
    for spec in row.keys {
        if spec.has(KeyFlag::NotKey) {
            continue;
        }
        let first = match spec.begin {
            BeginSearch::Index(index) => index as usize,
            BeginSearch::Keyword { keyword, .. } => streams_option(args, keyword)? + 1,
        };
        let len = args.len().checked_sub(first).filter(|&len| len > 0)?;
        let keys = match (spec.last, spec.limit) {
            (0, _) => 1,
            (_, 0) => len,
            (_, limit) if len.is_multiple_of(limit as usize) => len / limit as usize,
            _ => return None,
        };
        found.extend(args.from(first).first(keys).iter().step_by(spec.step as usize).map(|key| (key, spec)));
    }
    Some(found)
}

/// Where the keyword STREAMS of XREAD and XREADGROUP is. Other options are stepped over with their values, so that a
/// group or a consumer of that name is not taken for it (Redis `xreadGetKeys`).
fn streams_option(args: Args<'_>, keyword: &str) -> Option<usize> {
    const OPTIONS: [(&str, usize); 7] = [
        ("BLOCK", 1),
        ("COUNT", 1),
        ("MAXCOUNT", 1),
        ("MAXSIZE", 1),
        ("CLAIM", 1),
        ("GROUP", 2),
        ("NOACK", 0),
    ];
    let mut index = 1;
    loop {
        let arg = args.get(index)?;
        if arg.eq_ignore_ascii_case(keyword.as_bytes()) {
            return Some(index);
        }
        let option = OPTIONS.iter().find(|(word, _)| arg.eq_ignore_ascii_case(word.as_bytes()));
        index += 1 + option?.1;
    }
}
