//! The names of what TLS may use.

/// Supported TLS versions; older ones are broken.
pub const TLS_PROTOCOLS: &[&str] = &["TLSv1.2", "TLSv1.3"];

/// Supported TLS 1.2 suites, by OpenSSL's names.
pub const TLS_CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Supported TLS 1.3 suites.
pub const TLS_CIPHERSUITES: &[&str] =
    &["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
