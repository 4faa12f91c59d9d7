//! Signals: the first asks the run to stop at a safe point, the second ends the process.

use crate::{exit, output};
use tokio::sync::watch;

/// Waits for signals for as long as it is polled.
pub async fn listen(stop: watch::Sender<bool>) {
    wait().await;
    stop.send_replace(true);
    output::err("stopping at the next safe point; once more to stop at once");
    wait().await;
    output::err("stopped at once; run the same command again to go on");
    std::process::exit(exit::INTERRUPTED);
}

#[cfg(unix)]
async fn wait() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without our handlers the signals end the process, which is safe too.
        (Err(_), _) | (_, Err(_)) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn wait() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
