//! Which certificates of servers are believed, on rustls with *ring*.
//!
//! It knows neither files nor sockets nor the words of any product. Invariant: the server always proves that it holds the key of the
//! certificate that it shows; callers only choose whose certificate may be shown.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{ParsedCertificate, VerifierBuilderError},
};
use std::sync::Arc;

/// Decides whether a server's certificate is believed.
#[derive(Debug)]
pub struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None: any certificate will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// A server may show one of these itself, signed by nobody.
    pinned: Vec<CertificateDer<'static>>,
    by_name: bool,
}

impl Verifier {
    /// Believes any certificate.
    pub fn anybody() -> Verifier {
        let provider = Arc::new(ring::default_provider());
        Verifier { provider, chain: None, pinned: Vec::new(), by_name: false }
    }

    /// Believes what one of these authorities signed; with `by_name`, only if it is for the host that was asked for.
    ///
    /// # Errors
    /// The authorities cannot be used.
    pub fn signed(authorities: RootCertStore, by_name: bool) -> Result<Verifier, VerifierBuilderError> {
        let anybody = Verifier::anybody();
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), anybody.provider.clone());
        Ok(Verifier { chain: Some(builder.build()?), by_name, ..anybody })
    }

    /// Believes these as they are, too: nobody signed a server's own certificate, and their dates are not looked at.
    #[must_use]
    pub fn pinning(mut self, certificates: Vec<CertificateDer<'static>>) -> Verifier {
        self.pinned = certificates;
        self
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) {
            if self.by_name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when everything else was found right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.by_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
