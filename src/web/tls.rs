//! TLS by rustls with ring: whose certificates are trusted (the host's own authorities, or a file in their
//! place), and what a failed handshake says. Sessions are resumed, so a closed connection costs little.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{WebError, chain};

/// After so long the host's authorities are read again: an upgrade of ca-certificates counts.
const FRESH: Duration = Duration::from_secs(3600);
/// More than so many own authorities are not remembered.
const OWN_MAX: usize = 64;

type Print = [u8; 32];

/// Configurations by whom they trust.
#[derive(Default)]
pub(super) struct Roots(Mutex<HashMap<Option<Print>, Made>>);

/// When, and what.
type Made = (Instant, Arc<ClientConfig>);

pub(super) fn fingerprint(pem: &[u8]) -> Print {
    Sha256::digest(pem).into()
}

impl Roots {
    /// # Errors
    /// If no authority is found.
    pub(super) async fn config(&self, ca: Option<&[u8]>) -> Result<Arc<ClientConfig>, WebError> {
        let print = ca.map(fingerprint);
        if let Some((made, config)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&print)
            && made.elapsed() < FRESH
        {
            return Ok(config.clone());
        }
        let pem = ca.map(<[u8]>::to_vec);
        // The host's authorities are a hundred and more files.
        let made = tokio::task::spawn_blocking(move || build(pem.as_deref())).await;
        let config = Arc::new(made.map_err(|error| WebError::Trust(error.to_string()))??);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= OWN_MAX {
            known.clear();
        }
        known.insert(print, (Instant::now(), config.clone()));
        Ok(config)
    }
}

fn build(ca: Option<&[u8]>) -> Result<ClientConfig, WebError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            let no = |why: String| WebError::Trust(format!("the file of own authorities is of no use: {why}"));
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| no(error.to_string()))?;
                roots.add(certificate).map_err(|error| no(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(no("it has no certificate in it (PEM, BEGIN CERTIFICATE)".into()));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let text = "this host has no certificate authorities. Install them (apt-get install ca-certificates)";
                return Err(WebError::Trust(text.into()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| WebError::Trust(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The handshake.
pub(super) async fn secure<S>(config: Arc<ClientConfig>, host: &str, stream: S) -> Result<TlsStream<S>, WebError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned()).map_err(|_| WebError::BadUrl(host.to_owned()))?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| sort(host, &error))
}

fn sort(host: &str, error: &io::Error) -> WebError {
    let host = host.to_owned();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => WebError::Certificate { host, why: why.to_string() },
        Some(other) => WebError::Tls { host, why: other.to_string() },
        None => WebError::Tls { host, why: chain(error) },
    }
}
