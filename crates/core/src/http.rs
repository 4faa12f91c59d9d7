//! Asking and telling URLs: signals that are pages, and hooks.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// All of it: name, connection, answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// More than any answer that is read here has.
const ANSWER_MAX: u64 = 64 << 10;

/// The page's text.
///
/// # Errors
/// Why it could not be had; an answer other than 2xx is an error.
pub async fn get(url: &str) -> Result<String, String> {
    let url = url.to_string();
    blocking(move || read(agent().get(&url).call())).await
}

/// Sends JSON by POST.
///
/// # Errors
/// Why it did not arrive; an answer other than 2xx is an error.
pub async fn post(url: &str, json: String) -> Result<(), String> {
    let url = url.to_string();
    blocking(move || read(agent().post(&url).content_type("application/json").send(json)).map(drop)).await
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String, String> {
    let mut answer = answer.map_err(|e| e.to_string())?;
    answer.body_mut().with_config().limit(ANSWER_MAX).read_to_string().map_err(|e| e.to_string())
}

/// The thread ends by itself within the time limit, also if nobody waits for its answer any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?
}

fn agent() -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let native = rustls_native_certs::load_native_certs().certs;
        let roots = native.iter().map(|c| Certificate::from_der(c).to_owned());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::from(roots))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        // Kept connections may have died without a word; a new one each time costs nothing at this rate.
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WITHIN))
            .tls_config(tls)
            .max_idle_connections(0)
            .build();
        Agent::new_with_config(config)
    })
}
