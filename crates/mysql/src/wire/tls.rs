//! TLS as the driver's sessions have it: the same files, the same authorities.

use super::{Duplex, io_error};
use crate::connect::{ConnectOptions, SslMode};
use mysql_async::Error as Driver;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use shadowswap_core::tls::Verifier;
use std::{io, path::Path, sync::Arc};
use tokio_rustls::TlsConnector;

/// Secures a connection.
pub(super) async fn secure(
    options: &ConnectOptions,
    socket: Box<dyn Duplex>,
) -> Result<Box<dyn Duplex>, Driver> {
    let config = config(options).map_err(io_error)?;
    let name = ServerName::try_from(options.host.clone()).map_err(|e| io_error(io::Error::other(e)))?;
    let secured = TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(io_error)?;
    Ok(Box::new(secured))
}

fn config(options: &ConnectOptions) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = match options.ssl_mode {
        SslMode::Disabled | SslMode::Preferred | SslMode::Required => Verifier::anybody(),
        SslMode::VerifyCa | SslMode::VerifyIdentity => {
            let authorities = authorities(options.ssl_ca.as_deref())?;
            let by_name = options.ssl_mode == SslMode::VerifyIdentity;
            Verifier::signed(authorities, by_name).map_err(io::Error::other)?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match (&options.ssl_cert, &options.ssl_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = std::fs::read(key)?;
            let key = match std::str::from_utf8(&key) {
                Ok(_) => PrivateKeyDer::from_pem_slice(&key).map_err(io::Error::other)?,
                Err(_) => PrivateKeyDer::try_from(key).map_err(io::Error::other)?,
            };
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn authorities(file: Option<&Path>) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match file {
        Some(file) => {
            let bytes = std::fs::read(file)?;
            // What is between certificates may be in any character set.
            let mut found = CertificateDer::pem_slice_iter(&bytes)
                .collect::<Result<Vec<_>, _>>()
                .map_err(io::Error::other)?;
            if found.is_empty() {
                found.push(CertificateDer::from(bytes.as_slice()).into_owned());
            }
            for certificate in found {
                store.add(certificate).map_err(io::Error::other)?;
            }
        }
        None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    Ok(store)
}

/// Our own: PEM, or one certificate as it is.
fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let bytes = std::fs::read(file)?;
    if std::str::from_utf8(&bytes).is_err() {
        return Ok(vec![CertificateDer::from(bytes)]);
    }
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(io::Error::other)
}
