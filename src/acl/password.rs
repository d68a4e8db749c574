//! Password hashes. As in Redis, only the SHA-256 of a password is kept.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Hexadecimal digits of a hash.
const HEX_DIGITS: usize = 64;

/// The SHA-256 of a password. Comparisons take constant time (docs/reliability.md A9).
#[derive(Clone, Copy)]
pub struct PasswordHash([u8; 32]);

impl PasswordHash {
    pub fn of(password: &[u8]) -> PasswordHash {
        PasswordHash(Sha256::digest(password).into())
    }

    /// Parses 64 lower-case hexadecimal digits; anything else is not a hash.
    pub fn parse(hex: &[u8]) -> Option<PasswordHash> {
        if hex.len() != HEX_DIGITS {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(PasswordHash(hash))
    }

    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this is one of `hashes`; always compares with all of them.
    pub fn is_one_of(&self, hashes: &[PasswordHash]) -> bool {
        let found = hashes.iter().fold(Choice::from(0), |found, hash| found | self.0.ct_eq(&hash.0));
        bool::from(found)
    }
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &PasswordHash) -> bool {
        self.is_one_of(&[*other])
    }
}

/// Hides the hash: not even hashes belong in logs.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_sha_256_and_survives_its_text() {
        let hash = PasswordHash::of(b"abc");
        assert_eq!(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(PasswordHash::parse(hash.hex().as_bytes()), Some(hash));
        assert!(hash.is_one_of(&[PasswordHash::of(b"x"), hash, PasswordHash::of(b"y")]));
        assert!(!hash.is_one_of(&[]) && !hash.is_one_of(&[PasswordHash::of(b"abd")]));
    }

    #[test]
    fn only_64_lower_case_digits_are_a_hash() {
        let hex = PasswordHash::of(b"abc").hex();
        for wrong in [&hex[1..], &hex.to_uppercase(), &format!("{hex}0"), &hex.replace('b', "g"), ""] {
            assert_eq!(PasswordHash::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
