//! Checksums: CRC32C for everything that Headwater writes, CRC-64 for payloads of Redis.

/// CRC32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Continues a checksum: `extend(crc32c(a), b)` is the CRC32C of `a` followed by `b`.
pub fn extend(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// CRC-64 (Jones, reflected, without complement), as Redis appends it to RDB (`crc64.c`).
pub fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| CRC64_TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

const CRC64_TABLE: [u64; 256] = {
    /// The polynomial 0xad93d23594c935a9 with its bits reversed.
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The check value of `crc64.c`, also in the catalogue as CRC-64/REDIS.
    #[test]
    fn the_check_value_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        assert_eq!(extend(crc32c(b"1234"), b"56789"), crc32c(b"123456789"));
    }
}
