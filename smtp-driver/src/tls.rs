//! Whom to trust and who to be within TLS, for rustls.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore};
use sha2::{Digest, Sha256, Sha384, Sha512};
use smtp_proto::sasl::ChannelBindings;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

use crate::error::Error;

/// How TLS is done: whom to trust, who to be.
///
/// What is made of it is made once and shared by its clones, so that they resume each other's TLS sessions: the platform's
/// certificates are read once, and the server's certificate is not verified anew where a session is resumed.
///
/// The certificate has to name the host that was asked for (RFC 9525), whatever the server calls itself; common names do not
/// count. TLS 1.2 is the least.
///
/// ```
/// use smtp_driver::Tls;
///
/// let tls = Tls::default().tls13_only().server_name("mail.example.net")?;
/// # Ok::<(), smtp_driver::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Tls {
    trust: Trust,
    identity: Option<Arc<(Vec<CertificateDer<'static>>, Zeroizing<PrivateKeyDer<'static>>)>>,
    name: Option<ServerName<'static>>,
    tls13_only: bool,
    /// Made when it is first needed.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

#[derive(Clone, Default)]
enum Trust {
    /// What the platform trusts.
    #[default]
    Platform,
    /// What the platform trusts, and these.
    Also(Vec<CertificateDer<'static>>),
    /// These only.
    Only(Vec<CertificateDer<'static>>),
    /// The caller's configuration, used as it is.
    Config(Arc<ClientConfig>),
}

impl Tls {
    /// Trusts only the certificates in `pem`, not the platform's.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when there is no certificate in it, or something else.
    pub fn trusting_only(pem: &[u8]) -> Result<Self, Error> {
        Ok(Self { trust: Trust::Only(certificates(pem)?), ..Self::default() })
    }

    /// Trusts the certificates in `pem` as well as the platform's.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when there is no certificate in it, or something else.
    pub fn trusting_also(pem: &[u8]) -> Result<Self, Error> {
        Ok(Self { trust: Trust::Also(certificates(pem)?), ..Self::default() })
    }

    /// Uses a configuration of the caller's as it is: verifier, identity and versions are its business, and to change them
    /// here too is an error when TLS starts. DANE, pinning and the like are a verifier of it.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { trust: Trust::Config(config), ..Self::default() }
    }

    /// Shows a client certificate when asked: a chain and its private key.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when the one or the other is not PEM.
    pub fn identity(mut self, chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, Error> {
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| Error::tls(what_is_wrong(&error)))?;
        self.identity = Some(Arc::new((certificates(chain_pem)?, Zeroizing::new(key))));
        self.config = Arc::default();
        Ok(self)
    }

    /// The name or address that the certificate has to be for, instead of the host connected to.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when it is neither.
    pub fn server_name(mut self, name: &str) -> Result<Self, Error> {
        self.name = Some(ServerName::try_from(name.to_owned()).map_err(Error::tls)?);
        Ok(self)
    }

    /// Refuses TLS 1.2.
    #[must_use]
    pub fn tls13_only(mut self) -> Self {
        self.tls13_only = true;
        self.config = Arc::default();
        self
    }

    /// The client's side of a handshake with `host`.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when the configuration or the name cannot be used.
    pub fn start(&self, host: &str) -> Result<(Arc<ClientConfig>, ServerName<'static>), Error> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(Error::tls)?,
        };
        let config = match self.config.get() {
            Some(config) => config,
            None => {
                let made = self.client_config().map_err(Error::tls)?;
                self.config.get_or_init(|| made)
            }
        };
        Ok((Arc::clone(config), name))
    }

    fn client_config(&self) -> Result<Arc<ClientConfig>, Box<dyn std::error::Error + Send + Sync>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = match &self.trust {
            Trust::Config(_) if self.tls13_only || self.identity.is_some() => {
                return Err("identity and versions are the business of the configuration given".into());
            }
            Trust::Config(config) => return Ok(Arc::clone(config)),
            Trust::Platform => platform_verifier(&[], &provider)?,
            Trust::Also(extra) => platform_verifier(extra, &provider)?,
            Trust::Only(roots) => {
                let mut store = RootCertStore::empty();
                for root in roots {
                    store.add(root.clone())?;
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build()?
            }
        };
        let versions: &[_] = if self.tls13_only { &[&rustls::version::TLS13] } else { rustls::DEFAULT_VERSIONS };
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        // Not what it sounds like: the one way to name a verifier that is not webpki's.
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        Ok(Arc::new(match self.identity.as_deref() {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        }))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).field("tls13_only", &self.tls13_only).finish_non_exhaustive()
    }
}

fn platform_verifier(
    extra: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let extra = extra.iter().cloned();
    Ok(Arc::new(rustls_platform_verifier::Verifier::new_with_extra_roots(extra, Arc::clone(provider))?))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| Error::tls(what_is_wrong(&error)))?;
    if certificates.is_empty() { Err(Error::tls("there is no certificate in it")) } else { Ok(certificates) }
}

/// Without the line that is wrong: it may be a private key whose line ends were lost.
fn what_is_wrong(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "there is nothing of the kind in it",
        pem::Error::MissingSectionEnd { .. } => "it is not PEM: a section has no end",
        pem::Error::IllegalSectionStart { .. } => "it is not PEM: a section does not begin on a line of its own",
        pem::Error::Base64Decode(_) => "it is not PEM: a section is not base64",
        _ => "it is not PEM",
    }
}

/// What an authentication can be bound to after the handshake. `exporter_is_unique` says that TLS 1.2 was only accepted with
/// the extended master secret ([`ClientConfig::require_ems`]), without which its exporter is not.
pub fn channel_bindings(connection: &ClientConnection, exporter_is_unique: bool) -> ChannelBindings {
    let mut bindings = ChannelBindings::default();
    if exporter_is_unique || connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
        // RFC 9266 section 2.
        let exported = connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
        bindings.tls_exporter = exported.ok();
    }
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    bindings.tls_server_end_point = certificate.and_then(|certificate| end_point(certificate));
    bindings
}

/// The version of TLS as people write it.
pub fn tls_version(connection: &ClientConnection) -> Option<&'static str> {
    match connection.protocol_version()? {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        other => other.as_str(),
    }
}

/// The hash of a certificate by the hash of its signature (RFC 5929 section 4.1); MD5 and SHA-1 count as SHA-256. `None` for
/// signatures that name no single hash.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const SHA_256: [&str; 5] = [
        "1.2.840.113549.1.1.4",  // md5WithRSAEncryption
        "1.2.840.113549.1.1.5",  // sha1WithRSAEncryption
        "1.2.840.10045.4.1",     // ecdsa-with-SHA1
        "1.2.840.113549.1.1.11", // sha256WithRSAEncryption
        "1.2.840.10045.4.3.2",   // ecdsa-with-SHA256
    ];
    const SHA_384: [&str; 2] = ["1.2.840.113549.1.1.12", "1.2.840.10045.4.3.3"];
    const SHA_512: [&str; 2] = ["1.2.840.113549.1.1.13", "1.2.840.10045.4.3.4"];
    let algorithm = x509_cert::Certificate::from_der(certificate).ok()?.signature_algorithm.oid;
    let is_one_of = |oids: &[&str]| oids.iter().any(|oid| ObjectIdentifier::new(oid) == Ok(algorithm));
    if is_one_of(&SHA_256) {
        Some(Sha256::digest(certificate).to_vec())
    } else if is_one_of(&SHA_384) {
        Some(Sha384::digest(certificate).to_vec())
    } else if is_one_of(&SHA_512) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}
