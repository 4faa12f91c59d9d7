//! TLS as libpq does it, on rustls with *ring*: which certificates are believed, and what binds a password exchange to the connection.
//!
//! It owns certificates and their checks. It knows neither sockets nor the protocol's own request for TLS. Invariant: in every mode the
//! server proves that it holds the key of the certificate that it shows; the modes only differ in whose certificate may be shown.
//!
//! A certificate that is itself in `sslrootcert` is believed as it is (its dates are not looked at): that is how self-signed servers
//! are used, and rustls would refuse it as an authority that is no leaf. A name is looked for among the certificate's alternative
//! names only, never in its common name as libpq still does.

use crate::connect::SslMode;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use sha2::{Digest, Sha256, Sha384, Sha512};
use shadowswap_core::tls::Verifier;
use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// No sane certificate file is larger: all authorities of the world take less than a MiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Nothing is known.
    None,
    /// The system's own authorities.
    System,
    /// The certificates of this file.
    File(PathBuf),
}

/// The files of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Whom to believe.
    pub roots: Roots,
    /// Our own certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The settings of a connection. An error says what is wrong with which file.
pub fn config(files: &Files, mode: SslMode) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let must_verify = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
    // libpq: a known authority makes `require` as strict as `verify-ca`.
    let verifies = must_verify || (mode == SslMode::Require && files.roots != Roots::None);
    let verifier = if verifies {
        let roots = load_roots(&files.roots)?;
        let mut store = RootCertStore::empty();
        let (added, bad) = store.add_parsable_certificates(roots.iter().cloned());
        if added == 0 {
            return Err(format!("none of the {bad} authorities' certificates can be used"));
        }
        let verifier = Verifier::signed(store, mode == SslMode::VerifyFull)
            .map_err(|e| format!("the authorities' certificates cannot be used: {e}"))?;
        if files.roots == Roots::System { verifier } else { verifier.pinning(roots) }
    } else {
        Verifier::anybody()
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((certificate, key)) = &files.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    check_key_mode(key)?;
    let shown = key.display();
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| {
        format!("{shown} has no private key that can be used (it must be PEM, and not encrypted): {e}")
    })?;
    builder.with_client_auth_cert(chain, private).map_err(|e| {
        format!("the client certificate {} with the key {shown} cannot be used: {e}", certificate.display())
    })
}

/// The name that the certificate must have, and that the server is told.
pub fn server_name(
    host: &str,
    peer: Option<std::net::IpAddr>,
    mode: SslMode,
) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(host.trim_end_matches('.').to_owned());
    match (name, peer) {
        (Ok(name), _) => Ok(name),
        // Nobody compares the name: any will do.
        (Err(_), Some(address)) if mode != SslMode::VerifyFull => Ok(ServerName::IpAddress(address.into())),
        (Err(e), _) => Err(format!("{host:?} is not a name that a certificate can have: {e}")),
    }
}

/// The hash of the server's certificate that SCRAM-SHA-256-PLUS signs (RFC 5929, `tls-server-end-point`).
///
/// `None` if the certificate's signature does not say which hash to take: the exchange then goes without.
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    match signature_oid(certificate)? {
        // md5, sha1 and sha256 with RSA; sha1 and sha256 with ECDSA. The weak ones are replaced by SHA-256.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04 | 0x05 | 0x0b]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02] => Some(Sha256::digest(certificate).to_vec()),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03] => Some(Sha384::digest(certificate).to_vec()),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04] => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The signature's algorithm: the first item of the second item of the certificate.
fn signature_oid(certificate: &[u8]) -> Option<&[u8]> {
    let (0x30, inner, _) = der(certificate)? else { return None };
    let (_, _, rest) = der(inner)?;
    let (0x30, algorithm, _) = der(rest)? else { return None };
    let (0x06, oid, _) = der(algorithm)? else { return None };
    Some(oid)
}

/// One DER item: its tag, its content, and what follows it.
fn der(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (size, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                digits
                    .iter()
                    .try_fold(0_usize, |size, digit| size.checked_mul(256)?.checked_add((*digit).into()))?,
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(size)?;
    Some((*tag, content, rest))
}

fn load_roots(roots: &Roots) -> Result<Vec<CertificateDer<'static>>, String> {
    match roots {
        Roots::None => Err("this sslmode needs the certificate of the server's authority: name it with sslrootcert, put it into \
                            ~/.postgresql/root.crt, or use sslrootcert=system"
            .into()),
        Roots::File(path) => certificates(path),
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            match (found.certs.is_empty(), found.errors.first()) {
                (false, _) => Ok(found.certs),
                (true, Some(e)) => Err(format!("the system's certificates cannot be read: {e}")),
                (true, None) => Err("the system has no certificates of authorities (package ca-certificates)".into()),
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            Err(format!("{shown} is larger than {FILE_BYTES_MAX} bytes"))
        }
        Ok(_) => std::fs::read(path).map_err(|e| format!("{shown} cannot be read: {e}")),
        Err(e) => Err(format!("{shown} cannot be read: {e}")),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{} has no certificate in PEM format", path.display())),
        Ok(found) => Ok(found),
        Err(e) => Err(format!("{} has a certificate that cannot be read: {e}", path.display())),
    }
}

/// libpq's rule: our own file is for us alone, root's may be read by its group.
fn check_key_mode(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|e| format!("{shown} cannot be read: {e}"))?;
    let mode = metadata.permissions().mode();
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if mode & others == 0 {
        return Ok(());
    }
    let mode = mode & 0o777;
    Err(format!(
        "the private key {shown} was not used: its mode is {mode:04o}, so that others may read it; `chmod 0600 {shown}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's outline with this signature algorithm.
    fn outline(oid: &[u8]) -> Vec<u8> {
        let mut algorithm = vec![0x06, oid.len() as u8];
        algorithm.extend(oid);
        let mut inner = vec![0x30, 0x03, 1, 2, 3, 0x30, algorithm.len() as u8];
        inner.extend(algorithm);
        let mut all = vec![0x30, 0x81, inner.len() as u8];
        all.extend(inner);
        all
    }

    #[test]
    fn end_point_takes_the_hash_of_the_signature() {
        let rsa = |last| outline(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]);
        for (certificate, size) in [(rsa(0x05), 32), (rsa(0x0b), 32), (rsa(0x0c), 48), (rsa(0x0d), 64)] {
            assert_eq!(end_point(&certificate).map(|hash| hash.len()), Some(size));
        }
        // Ed25519 hashes nothing on its own.
        assert_eq!(end_point(&outline(&[0x2b, 0x65, 0x70])), None);
    }

    #[test]
    fn broken_certificates_have_no_end_point() {
        let whole = outline(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
        assert!(end_point(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(end_point(&whole[..end]), None);
        }
        assert_eq!(end_point(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn verifying_modes_need_an_authority() {
        let files = Files { roots: Roots::None, client: None };
        assert!(config(&files, SslMode::VerifyFull).unwrap_err().contains("sslrootcert"));
        assert!(config(&files, SslMode::Require).is_ok());
        let files = Files { roots: Roots::File("/nonexistent/root.crt".into()), client: None };
        assert!(config(&files, SslMode::Require).unwrap_err().contains("/nonexistent/root.crt"));
        assert!(config(&files, SslMode::Prefer).is_ok());
    }

    #[test]
    fn odd_names_only_matter_when_compared() {
        let peer = Some([127, 0, 0, 1].into());
        assert!(server_name("db..local", peer, SslMode::Require).is_ok());
        assert!(server_name("db..local", peer, SslMode::VerifyFull).is_err());
        assert!(server_name("db.local.", None, SslMode::VerifyFull).is_ok());
        assert!(server_name("::1", None, SslMode::VerifyFull).is_ok());
    }
}
