//! TLS to the source, by rustls.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::connection::Stream;
use super::properties::TlsSettings;

/// Wraps `stream` in TLS.
pub(super) async fn connect(
    stream: TcpStream,
    address: &str,
    settings: &TlsSettings,
) -> Result<Box<dyn Stream>, String> {
    let config = config(settings)?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are files, as in every client"
)]
fn read_file(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{path}: {error}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("a certificate: {error:?}"))?;
    match found.is_empty() {
        true => Err("there is no certificate (PEM) where one should be".into()),
        false => Ok(found),
    }
}

fn config(settings: &TlsSettings) -> Result<ClientConfig, String> {
    let mut trusted = RootCertStore::empty();
    let pem = match (&settings.trusted_pem, &settings.trusted_file) {
        (Some(pem), _) => Some(pem.clone().into_bytes()),
        (None, Some(path)) => Some(read_file(path)?),
        (None, None) => None,
    };
    match pem {
        Some(pem) => {
            for certificate in certificates(&pem)? {
                trusted
                    .add(certificate)
                    .map_err(|error| error.to_string())?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            trusted.add_parsable_certificates(found.certs);
            if trusted.is_empty() {
                return Err(
                    "this machine has no trusted certificates; give ssl.truststore.location".into(),
                );
            }
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trusted = Arc::new(trusted);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if settings.check_host {
        builder.with_root_certificates(trusted)
    } else {
        let inner = WebPkiServerVerifier::builder_with_provider(trusted, provider.clone());
        let inner = inner.build().map_err(|error| error.to_string())?;
        let verifier = AnyHost { inner, provider };
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
    };
    let own = match (&settings.own_pem, &settings.own_file) {
        (Some((chain, key)), _) => Some((chain.clone().into_bytes(), key.clone().into_bytes())),
        (None, Some(path)) => {
            let both = read_file(path)?;
            Some((both.clone(), both))
        }
        (None, None) => None,
    };
    match own {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| "the key is not PEM")?;
            let configured = builder.with_client_auth_cert(certificates(&chain)?, key);
            configured.map_err(|error| error.to_string())
        }
    }
}

/// Checks who vouches for a certificate and not for which host: what an empty
/// `ssl.endpoint.identification.algorithm` asks for.
#[derive(Debug)]
struct AnyHost {
    inner: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
