//! The TLS configuration of the server: certificate, versions, suites, and the accepted authorities of client
//! certificates.

use crate::config::config::{ClientCertificates, TlsSettings};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{
    CipherSuite, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration of the TLS port: certificate, versions, cipher suites.
pub type Offer = Arc<ServerConfig>;

/// Maximum bytes read from a certificate or key file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Cached sessions with `tls-session-cache-size` 0 (the default of OpenSSL and Redis).
const SESSIONS_DEFAULT: usize = 20_480;

/// Why TLS cannot start with these settings and files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls-port needs {setting}")]
    Missing { setting: &'static str },
    #[error(
        "tls-auth-clients needs tls-ca-cert-file or tls-ca-cert-dir, to know whose certificates to accept (or tls-auth-clients \
         no, if clients need none)"
    )]
    NoAuthorities,
    #[error("{setting} {}: {why}", path.display())]
    File { setting: &'static str, path: PathBuf, why: String },
    #[error("tls-cert-file {certificate} with tls-key-file {key}: {source}")]
    Pair { certificate: String, key: String, source: rustls::Error },
    #[error("tls-protocols, tls-ciphers and tls-ciphersuites leave nothing to speak: {source}")]
    Suites { source: rustls::Error },
    #[error("the authorities of clients: {why}")]
    Authorities { why: String },
}

/// Reads the files and builds the configuration of new connections.
pub fn build(settings: &TlsSettings) -> Result<Offer, TlsError> {
    let provider = Arc::new(provider(settings));
    let chain = certificates("tls-cert-file", required("tls-cert-file", &settings.cert_file)?)?;
    let key = private_key(required("tls-key-file", &settings.key_file)?)?;
    let authorities = authorities(settings)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(settings))
        .map_err(|source| TlsError::Suites { source })?;
    let builder = match settings.client_certificates {
        ClientCertificates::Unused => builder.with_no_client_auth(),
        policy => {
            let authorities = authorities.ok_or(TlsError::NoAuthorities)?;
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            if policy == ClientCertificates::Optional {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier =
                verifier.build().map_err(|error| TlsError::Authorities { why: error.to_string() })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|source| TlsError::Pair {
        certificate: settings.cert_file.clone(),
        key: settings.key_file.clone(),
        source,
    })?;
    config.ignore_client_order = settings.prefer_server_ciphers;
    if settings.session_caching {
        let sessions = match settings.session_cache_size {
            0 => SESSIONS_DEFAULT,
            size => size as usize,
        };
        config.session_storage = ServerSessionMemoryCache::new(sessions);
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn required<'a>(setting: &'static str, path: &'a str) -> Result<&'a Path, TlsError> {
    if path.is_empty() { Err(TlsError::Missing { setting }) } else { Ok(Path::new(path)) }
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let wants = |name: &str| settings.protocols.is_empty() || settings.protocols.iter().any(|p| p == name);
    let mut versions = Vec::new();
    if wants("TLSv1.3") {
        versions.push(&version::TLS13);
    }
    if wants("TLSv1.2") {
        versions.push(&version::TLS12);
    }
    versions
}

/// The suites in the order of the settings; those of TLS 1.3 come first.
fn provider(settings: &TlsSettings) -> CryptoProvider {
    let mut provider = ring::default_provider();
    let known = std::mem::take(&mut provider.cipher_suites);
    let (mut tls13, mut tls12): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|suite| suite.tls13().is_some());
    for (suites, names) in [(&mut tls13, &settings.ciphersuites), (&mut tls12, &settings.ciphers)] {
        if !names.is_empty() {
            let place = |suite: &SupportedCipherSuite| names.iter().position(|n| n == name(suite.suite()));
            suites.retain(|suite| place(suite).is_some());
            suites.sort_by_key(place);
        }
    }
    provider.cipher_suites = [tls13, tls12].concat();
    provider
}

/// The suite's name in the settings.
fn name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |why: String| TlsError::File { setting, path: path.to_owned(), why };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// All certificates of a file; at least one.
fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(setting, path)?;
    let failed = |why: String| TlsError::File { setting, path: path.to_owned(), why };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("there is no certificate in it (-----BEGIN CERTIFICATE-----)".into()));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let setting = "tls-key-file";
    let bytes = read(setting, path)?;
    let is_encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| bytes.windows(mark.len()).any(|found| found == mark.as_bytes()));
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| TlsError::File {
        setting,
        path: path.to_owned(),
        why: if is_encrypted {
            "the key is protected by a password, which is not supported: store it without one (openssl pkey) and protect the \
             file"
                .into()
        } else {
            format!("there is no private key in it: {error}")
        },
    })
}

/// The authorities of client certificates; `None` if the settings name none.
fn authorities(settings: &TlsSettings) -> Result<Option<RootCertStore>, TlsError> {
    if settings.ca_cert_file.is_empty() && settings.ca_cert_dir.is_empty() {
        return Ok(None);
    }
    let mut store = RootCertStore::empty();
    if !settings.ca_cert_file.is_empty() {
        let setting = "tls-ca-cert-file";
        let path = Path::new(&settings.ca_cert_file);
        for certificate in certificates(setting, path)? {
            store.add(certificate).map_err(|error| TlsError::File {
                setting,
                path: path.to_owned(),
                why: error.to_string(),
            })?;
        }
    }
    if !settings.ca_cert_dir.is_empty() {
        add_directory(&mut store, Path::new(&settings.ca_cert_dir))?;
    }
    Ok(Some(store))
}

/// Skips other files beside the certificates (revocation lists, notes), as OpenSSL does.
fn add_directory(store: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let setting = "tls-ca-cert-dir";
    let failed = |why: String| TlsError::File { setting, path: path.to_owned(), why };
    let mut found = 0;
    let entries = std::fs::read_dir(path).map_err(|error| failed(error.to_string()))?;
    for entry in entries {
        let file = entry.map_err(|error| failed(error.to_string()))?.path();
        if !file.is_file() {
            continue;
        }
        match certificates(setting, &file) {
            Ok(certificates) => found += store.add_parsable_certificates(certificates).0,
            Err(error) => tracing::debug!(%error, "left out"),
        }
    }
    if found == 0 {
        return Err(failed("there is no certificate in any of its files".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tls_names::{TLS_CIPHERS, TLS_CIPHERSUITES};
    use std::collections::BTreeSet;

    #[test]
    fn the_settings_name_the_suites_that_there_are() {
        let known: BTreeSet<_> =
            ring::default_provider().cipher_suites.iter().map(|suite| name(suite.suite())).collect();
        let told: BTreeSet<_> = TLS_CIPHERS.iter().chain(TLS_CIPHERSUITES).copied().collect();
        assert_eq!(known, told);
    }

    #[test]
    fn suites_come_in_the_order_of_the_settings() {
        let names = |settings: &TlsSettings| -> Vec<_> {
            provider(settings).cipher_suites.iter().map(|suite| name(suite.suite())).collect()
        };
        assert_eq!(names(&TlsSettings::default()).len(), TLS_CIPHERS.len() + TLS_CIPHERSUITES.len());
        let chosen = TlsSettings {
            ciphers: vec!["ECDHE-RSA-CHACHA20-POLY1305".into(), "ECDHE-ECDSA-AES256-GCM-SHA384".into()],
            ciphersuites: vec!["TLS_CHACHA20_POLY1305_SHA256".into()],
            ..TlsSettings::default()
        };
        let expected =
            ["TLS_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"];
        assert_eq!(names(&chosen), expected);
    }

    /// A self-signed certificate and its key, in files of these names.
    fn pair(folder: &Path, name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (certificate.display().to_string(), key.display().to_string())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert_file, key_file) = pair(folder.path(), "a");
        let (_, other_key) = pair(folder.path(), "b");
        let text = folder.path().join("text").display().to_string();
        std::fs::write(&text, "hello").unwrap();
        let encrypted = folder.path().join("encrypted").display().to_string();
        std::fs::write(
            &encrypted,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAo=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .unwrap();
        let garbage = folder.path().join("garbage").display().to_string();
        std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n").unwrap();
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let good = TlsSettings {
            cert_file,
            key_file,
            client_certificates: ClientCertificates::Unused,
            session_caching: true,
            ..TlsSettings::default()
        };
        build(&good).unwrap();
        let error = |change: &dyn Fn(&mut TlsSettings)| {
            let mut settings = good.clone();
            change(&mut settings);
            build(&settings).expect_err("refused").to_string()
        };
        type Change<'a> = &'a dyn Fn(&mut TlsSettings);
        let cases: [(Change<'_>, &[&str]); 11] = [
            (&|s| s.cert_file.clear(), &["tls-port needs tls-cert-file"]),
            (&|s| s.key_file.clear(), &["tls-port needs tls-key-file"]),
            (&|s| s.cert_file = "/nowhere/x".into(), &["tls-cert-file /nowhere/x: No such file"]),
            (&|s| s.cert_file = text.clone(), &["tls-cert-file", "/text: there is no certificate"]),
            (&|s| s.cert_file = garbage.clone(), &["tls-cert-file", "garbage"]),
            (&|s| s.key_file = text.clone(), &["tls-key-file", "/text: there is no private key"]),
            (&|s| s.key_file = encrypted.clone(), &["tls-key-file", "protected by a password"]),
            (&|s| s.key_file = other_key.clone(), &["a.crt", "b.key", "key"]),
            (&|s| s.client_certificates = ClientCertificates::Required, &["tls-auth-clients needs"]),
            (&|s| s.ca_cert_file = garbage.clone(), &["tls-ca-cert-file", "garbage"]),
            (&|s| s.ca_cert_dir = empty.display().to_string(), &["tls-ca-cert-dir", "no certificate in any"]),
        ];
        for (change, words) in cases {
            let text = error(change);
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
        }
        // Other files may lie beside certificates.
        let with_directory = TlsSettings { ca_cert_dir: folder.path().display().to_string(), ..good.clone() };
        build(&TlsSettings { client_certificates: ClientCertificates::Required, ..with_directory }).unwrap();
    }
}
