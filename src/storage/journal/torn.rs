//! The end of the records: clean, torn, or damaged.
//!
//! The rule (S5): after a power failure, writes that were not synced may be present in any subset of their
//! sectors. So, at the first place of the last file without a valid record,
//!
//! * zeros up to the end of the file are the clean end;
//! * a later record that was made when this place was already synced proves damage, which is refused;
//! * bytes that may be a torn write are cut: a sector of them never arrived or not as a whole, and begins or
//!   ends in zeros. The record was never acknowledged;
//! * a broken record with all its sectors is damage, which is refused.
//!
//! A record has no zeros of its own, because it is masked. In files of formats 1 and 2 it may have; there a
//! record also counts as torn if it ends in zeros, and damage may pass for a torn write.
//!
//! A disk writes whole sectors, but the system may copy a page to the disk while the next write changes it, so
//! that a sector has the beginning of that write only; or the zeros of a cut on the beginning of a torn one. A
//! process that dies within a write may also leave any part of it, if its own memory was swapped out.

use crate::env::fs::SECTOR_BYTES;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{END_BYTES, JournalFile};
use crate::storage::journal::reader::JournalReader;
use crate::storage::journal::record::{ALIGNMENT, Layout, RecordHead};

/// Length of the torn write after the last valid record; 0 for a clean end. Damage is an error. At `stop` there
/// is no valid record; `head` is the head there, if that is valid.
pub fn torn_bytes(
    file: &JournalFile,
    stop: u64,
    head: Option<RecordHead>,
    is_last: bool,
) -> Result<u64, JournalError> {
    let damaged = |offset: u64, reason: String| Err(JournalError::damaged(&file.path, offset, reason));
    let cut_short = "the file was cut short: the zeros behind its last record are missing";
    if file.len < stop + END_BYTES {
        return damaged(file.len, cut_short.into());
    }
    let mut reader = JournalReader::new(file);
    let Some(last_byte) = last_byte(&mut reader, stop)? else { return Ok(0) };
    let announced = head.map(|head| stop + head.record_bytes());
    if last_byte + END_BYTES >= file.len || announced.is_some_and(|end| end > file.len - END_BYTES) {
        return damaged(stop, cut_short.into());
    }
    if !is_last {
        return damaged(stop, "no valid record here, and this is not the last journal file".into());
    }
    let mut next = None;
    let mut offset = stop + ALIGNMENT;
    while offset <= last_byte {
        if let Some(head) = reader.head_at(offset)? {
            if head.synced > stop {
                return damaged(
                    stop,
                    format!(
                        "no valid record here, though it was synced before the record at byte {offset} was made"
                    ),
                );
            }
            next = next.or(Some(offset));
        }
        offset += ALIGNMENT;
    }
    let head_end = stop + file.layout().head_bytes() as u64;
    let is_torn = match file.layout() {
        Layout::Masked => {
            let last_word_end = (last_byte + 1).next_multiple_of(ALIGNMENT);
            let end = next.or(announced).unwrap_or(last_word_end.max(head_end));
            has_incomplete_sector(&mut reader, stop, end)?
        }
        Layout::Plain => {
            // An incomplete head ends in zeros, because its checksum stands last; so does a record with a
            // complete head and an incomplete payload.
            let payload_bytes = head.map_or(0, |head| u64::from(head.payload_bytes));
            let is_short = next.is_none() && last_byte + 1 < head_end + payload_bytes;
            let end = next.or(announced).unwrap_or(last_byte + 1).next_multiple_of(SECTOR_BYTES);
            is_short || has_missing_sector(&mut reader, stop, end)?
        }
    };
    if !is_torn {
        return damaged(
            stop,
            "a record that was written whole does not match its checksum; this is no torn write".into(),
        );
    }
    Ok(last_byte + 1 - stop)
}

/// The offset of the last non-zero byte from `from` on.
pub fn last_byte(reader: &mut JournalReader<'_>, from: u64) -> Result<Option<u64>, JournalError> {
    const PIECE: usize = 1 << 16;
    static ZEROS: [u8; PIECE] = [0; PIECE];
    let len = reader.file().len;
    let mut last = None;
    let mut offset = from;
    while offset < len {
        let bytes = reader.bytes(offset, PIECE)?;
        if bytes.is_empty() {
            break;
        }
        // A prepared file is zeros almost everywhere, and comparing is faster than looking at each byte.
        if *bytes != ZEROS[..bytes.len()]
            && let Some(at) = bytes.iter().rposition(|&byte| byte != 0)
        {
            last = Some(offset + at as u64);
        }
        offset += bytes.len() as u64;
    }
    Ok(last)
}

/// Whether what `from..to` has of some sector is zeros, as if it had never been written.
fn has_missing_sector(reader: &mut JournalReader<'_>, from: u64, to: u64) -> Result<bool, JournalError> {
    let mut start = from;
    while start < to {
        let end = (start + 1).next_multiple_of(SECTOR_BYTES).min(to);
        if reader.bytes(start, (end - start) as usize)?.iter().all(|&byte| byte == 0) {
            return Ok(true);
        }
        start = end;
    }
    Ok(false)
}

/// Whether what `from..to` has of some sector begins or ends with a word of zeros. The ends are at words.
fn has_incomplete_sector(reader: &mut JournalReader<'_>, from: u64, to: u64) -> Result<bool, JournalError> {
    let mut start = from;
    while start < to {
        let end = (start + 1).next_multiple_of(SECTOR_BYTES).min(to);
        let bytes = reader.bytes(start, (end - start) as usize)?;
        if bytes.starts_with(&[0; ALIGNMENT as usize]) || bytes.ends_with(&[0; ALIGNMENT as usize]) {
            return Ok(true);
        }
        start = end;
    }
    Ok(false)
}

/// Makes everything that was read durable, and zeros the torn tail. Bytes that the previous process wrote but
/// did not sync exist in memory only, and after a failed sync even look clean (S2); so they are written
/// again, not just synced, and zeros behind them. The rest of the file is zeroed before it is used.
pub fn make_durable(
    file: &mut JournalFile,
    synced: u64,
    stop: u64,
    torn: u64,
    zero_ahead_bytes: u64,
) -> Result<(), JournalError> {
    let mut reader = JournalReader::new(file);
    let mut offset = synced;
    while offset < stop {
        let bytes = reader.bytes(offset, (stop - offset).min(PIECE_BYTES) as usize)?;
        file.file.write_at(bytes, offset).map_err(JournalError::io(&file.path, offset, "write again"))?;
        offset += bytes.len() as u64;
    }
    if torn > 0 && file.layout() == Layout::Plain {
        // This may be cut short, and what is left must look like a torn write again. In the other layout a
        // sector of zeros does. Here the head goes last, and its last byte before the others: a payload that
        // is missing, and a head that ends early, are proof.
        let end = stop + torn;
        let head_end = end.min(stop + file.layout().head_bytes() as u64);
        zero(file, head_end, end)?;
        // A power cut may keep a later write and lose an earlier one, in another sector.
        file.file.sync_data().map_err(JournalError::io(&file.path, stop, "sync"))?;
        zero(file, head_end - 1, head_end)?;
    }
    // The zeros behind are as little to be trusted. Up to the end of a sector at least, because a sector
    // without a byte is proof of a torn write should an earlier cut come back.
    let end = (stop + END_BYTES.max(zero_ahead_bytes).max(torn)).next_multiple_of(SECTOR_BYTES);
    file.own_len = end.min(file.len);
    zero(file, stop, file.own_len)?;
    file.file.sync_data().map_err(JournalError::io(&file.path, stop, "sync"))
}

/// Zeros a part of a torn write, backwards.
fn zero(file: &JournalFile, from: u64, to: u64) -> Result<(), JournalError> {
    let mut left = to - from;
    while left > 0 {
        let piece = left.min(PIECE_BYTES);
        left -= piece;
        let zeros = vec![0; piece as usize];
        file.file.write_at(&zeros, from + left).map_err(JournalError::io(
            &file.path,
            from + left,
            "cut a torn write",
        ))?;
    }
    Ok(())
}

const PIECE_BYTES: u64 = 1 << 20;
