//! Authorities, certificates and keys for the TLS tests, generated on demand.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A certificate authority.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub pem: String,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Authority { params, key, pem }
    }

    /// The default authority of the test servers' certificates.
    pub fn of_tests() -> &'static Authority {
        static AUTHORITY: OnceLock<Authority> = OnceLock::new();
        AUTHORITY.get_or_init(Authority::new)
    }

    /// The TLS configuration of a test's client: with a certificate, if the server asks for one.
    pub fn config_of_tests() -> Arc<ClientConfig> {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        let authority = Authority::of_tests();
        authority.client_config(Some(PAIR.get_or_init(|| authority.client())), rustls::ALL_VERSIONS)
    }

    pub fn server(&self) -> Pair {
        self.sign(ExtendedKeyUsagePurpose::ServerAuth, None)
    }

    pub fn client(&self) -> Pair {
        self.sign(ExtendedKeyUsagePurpose::ClientAuth, None)
    }

    /// An expired client certificate.
    pub fn expired_client(&self) -> Pair {
        self.sign(ExtendedKeyUsagePurpose::ClientAuth, Some(2020))
    }

    fn sign(&self, purpose: ExtendedKeyUsagePurpose, ends: Option<i32>) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("params");
        params.distinguished_name.push(DnType::CommonName, "somebody in the tests");
        params.extended_key_usages.push(purpose);
        if let Some(year) = ends {
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("signed").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// A client configuration that trusts this authority, with a client certificate if given.
    pub fn client_config(
        &self,
        pair: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.pem)).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![certificate(&pair.certificate)], key).expect("a pair")
            }
        })
    }
}

pub fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// Writes the pair and the authority's certificate into a folder. Returns the flags for a server that uses
/// them.
pub fn install(folder: &Path, pair: &Pair, authority: &Authority) -> Vec<String> {
    std::fs::create_dir_all(folder).expect("a folder");
    let mut flags = Vec::new();
    for (flag, name, text) in [
        ("--tls-cert-file", "server.crt", &pair.certificate),
        ("--tls-key-file", "server.key", &pair.key),
        ("--tls-ca-cert-file", "authority.crt", &authority.pem),
    ] {
        let path = write(folder, name, text);
        flags.extend([flag.to_owned(), path.display().to_string()]);
    }
    flags
}

pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path
}
