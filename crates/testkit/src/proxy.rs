//! A TCP proxy between a program and its server, for everything that networks do: connections that are cut, reset, stalled or slow,
//! and answers that never arrive.
//!
//! A connection is known by its opening bytes: PostgreSQL's start-up message and MySQL's login (without TLS) both have the program's
//! name for it. A [`Rule`] acts once, at the moment at which the client sends certain bytes over such a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What is read at once.
const PIECE: usize = 16 << 10;
/// A connection's first bytes are kept up to here, so that rules and tests know it.
const OPENING: usize = 2 << 10;
/// After the first piece of an answer that is to be lost, the server gets so long to finish with it.
const SETTLES: Duration = Duration::from_millis(100);
/// A server that is asked does not take longer to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// How a connection flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// At once.
    Free,
    /// Each piece waits for so long.
    Slow(Duration),
    /// Not at all; what is sent waits, and what comes is acknowledged.
    Stalled,
    /// It ends as a program's end would end it.
    Cut,
    /// It ends with a reset.
    Reset,
}

/// What happens when the client sends the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// They do not arrive, and the connection is reset.
    Request,
    /// They arrive, the server answers, and instead of the answer comes a reset.
    Answer,
    /// They arrive, and from then on nothing does, either way.
    Everything,
}

struct Rule {
    opening: Vec<u8>,
    bytes: Vec<u8>,
    loss: Loss,
}

#[derive(Default)]
struct Shared {
    links: Mutex<Vec<Link>>,
    rules: Mutex<Vec<Rule>>,
    lost: Mutex<Vec<Loss>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection.
#[derive(Clone)]
pub struct Link {
    flow: Arc<watch::Sender<Flow>>,
    opening: Arc<Mutex<Vec<u8>>>,
}

impl Link {
    /// Its first bytes.
    pub fn opening(&self) -> String {
        String::from_utf8_lossy(&lock(&self.opening)).into_owned()
    }

    /// Changes how it flows. What is cut or reset stays so.
    pub fn set(&self, flow: Flow) {
        self.flow.send_if_modified(|now| {
            let is_over = matches!(now, Flow::Cut | Flow::Reset);
            if !is_over {
                *now = flow;
            }
            !is_over
        });
    }

    fn is_open(&self) -> bool {
        !self.flow.is_closed() && self.flow.receiver_count() > 0
    }
}

/// A proxy on a port of its own. Dropping it ends all of its connections.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    /// How new connections flow.
    flow: watch::Sender<Flow>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before a port of this machine.
    ///
    /// # Panics
    /// If no port is to be had.
    pub async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared::default());
        let flow = watch::Sender::new(Flow::Free);
        let (of_task, new) = (Arc::clone(&shared), flow.subscribe());
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let flow = *new.borrow();
                tokio::spawn(join(client, target, flow, Arc::clone(&of_task)));
            }
        });
        Proxy { port, shared, flow, listener }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a server with this proxy's port in place of the server's.
    pub fn url(&self, url: &str, port: u16) -> String {
        url.replacen(&format!(":{port}/"), &format!(":{}/", self.port), 1)
    }

    /// The connections that are open now.
    pub fn links(&self) -> Vec<Link> {
        let mut links = lock(&self.shared.links);
        links.retain(Link::is_open);
        links.clone()
    }

    /// Changes how all connections of now flow, and those to come if it is not their end.
    pub fn set(&self, flow: Flow) {
        if !matches!(flow, Flow::Cut | Flow::Reset) {
            self.flow.send_replace(flow);
        }
        self.set_present(flow);
    }

    /// Changes how the connections of now flow.
    pub fn set_present(&self, flow: Flow) {
        self.links().iter().for_each(|link| link.set(flow));
    }

    /// When a client next sends `bytes` over a connection whose opening has `opening`, there is a loss. Once.
    pub fn lose(&self, loss: Loss, opening: &str, bytes: &str) {
        let rule = Rule { opening: opening.as_bytes().to_vec(), bytes: bytes.as_bytes().to_vec(), loss };
        lock(&self.shared.rules).push(rule);
    }

    /// Losses so far.
    pub fn lost(&self) -> usize {
        lock(&self.shared.lost).len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.set_present(Flow::Cut);
    }
}

/// Carries one connection to its end.
async fn join(client: TcpStream, target: u16, flow: Flow, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    let (sender, flows) = watch::channel(flow);
    let link = Link { flow: Arc::new(sender), opening: Arc::default() };
    lock(&shared.links).push(link.clone());
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_swallowed = watch::Sender::new(false);
    let up = upwards(&mut from_client, &mut to_server, flows.clone(), &link, &shared, &is_swallowed);
    let down = downwards(&mut from_server, &mut to_client, flows.clone(), is_swallowed.subscribe());
    let mut ends = flows;
    let is_reset = tokio::select! {
        end = up => end.unwrap_or(false),
        end = down => end.unwrap_or(false),
        flow = ends.wait_for(|flow| matches!(flow, Flow::Cut | Flow::Reset)) => {
            flow.is_ok_and(|flow| *flow == Flow::Reset)
        }
    };
    if is_reset {
        for stream in [from_client.as_ref(), from_server.as_ref()] {
            stream.set_zero_linger().ok();
        }
        // Dropped by itself, it would end the connection in good order before.
        to_client.forget();
        to_server.forget();
    }
}

/// Waits for as long as the flow says; what was read is not lost meanwhile.
async fn paced(flows: &mut watch::Receiver<Flow>) {
    let slow = match *flows.borrow_and_update() {
        Flow::Slow(pause) => Some(pause),
        Flow::Free | Flow::Stalled | Flow::Cut | Flow::Reset => None,
    };
    if let Some(pause) = slow {
        sleep(pause).await;
    }
    // The sender lives as long as the connection.
    drop(flows.wait_for(|flow| *flow != Flow::Stalled).await);
}

/// From the client to the server. True: to be ended with a reset.
async fn upwards(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut flows: watch::Receiver<Flow>,
    link: &Link,
    shared: &Shared,
    is_swallowed: &watch::Sender<bool>,
) -> io::Result<bool> {
    let mut piece = vec![0; PIECE];
    // The end of the piece before: what is looked for may lie across.
    let mut tail = Vec::new();
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(false);
        }
        paced(&mut flows).await;
        let bytes = &piece[..length];
        let mut opening = lock(&link.opening).clone();
        if opening.len() < OPENING {
            opening.extend_from_slice(&bytes[..length.min(OPENING - opening.len())]);
            lock(&link.opening).clone_from(&opening);
        }
        tail.extend_from_slice(bytes);
        let loss = {
            let mut rules = lock(&shared.rules);
            let found = rules.iter().position(|rule| has(&opening, &rule.opening) && has(&tail, &rule.bytes));
            found.map(|place| rules.remove(place).loss)
        };
        tail.drain(..tail.len().saturating_sub(64));
        if let Some(loss) = loss {
            lock(&shared.lost).push(loss);
            match loss {
                Loss::Request => return Ok(true),
                Loss::Answer => {
                    is_swallowed.send_replace(true);
                    to.write_all(bytes).await?;
                    // The other direction ends the connection once it has swallowed the answer.
                    std::future::pending::<()>().await;
                }
                Loss::Everything => {
                    to.write_all(bytes).await?;
                    link.set(Flow::Stalled);
                }
            }
            continue;
        }
        to.write_all(bytes).await?;
    }
}

/// From the server to the client. True: to be ended with a reset.
async fn downwards(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut flows: watch::Receiver<Flow>,
    mut is_swallowed: watch::Receiver<bool>,
) -> io::Result<bool> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = tokio::select! {
            biased;
            () = begins(&mut is_swallowed) => {
                drop(timeout(ANSWERS_WITHIN, from.read(&mut piece)).await);
                let rest = async { while let Ok(1..) = from.read(&mut piece).await {} };
                drop(timeout(SETTLES, rest).await);
                return Ok(true);
            }
            length = from.read(&mut piece) => length?,
        };
        if length == 0 {
            return Ok(false);
        }
        paced(&mut flows).await;
        to.write_all(&piece[..length]).await?;
    }
}

/// Waits until answers are swallowed.
async fn begins(is_swallowed: &mut watch::Receiver<bool>) {
    // The sender lives as long as the connection.
    drop(is_swallowed.wait_for(|is| *is).await);
}

fn has(all: &[u8], part: &[u8]) -> bool {
    part.is_empty() || all.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each piece with the same, in capitals.
    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut piece = [0; 100];
                    while let Ok(length @ 1..) = stream.read(&mut piece).await {
                        let answer = piece[..length].to_ascii_uppercase();
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        port
    }

    async fn said(stream: &mut TcpStream, text: &str) -> io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut piece = [0; 100];
        let read = timeout(Duration::from_millis(300), stream.read(&mut piece)).await;
        let length = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(String::from_utf8_lossy(&piece[..length]).into_owned())
    }

    #[tokio::test]
    async fn connections_are_stalled_slowed_cut_and_reset() {
        let proxy = Proxy::start(echo().await).await;
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut one = connect().await.unwrap();
        assert_eq!(said(&mut one, "hello").await.unwrap(), "HELLO");
        assert_eq!(proxy.links()[0].opening(), "hello");
        proxy.set_present(Flow::Stalled);
        assert_eq!(said(&mut one, "a").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut two = connect().await.unwrap();
        assert_eq!(said(&mut two, "b").await.unwrap(), "B", "new ones flow");
        proxy.set(Flow::Slow(Duration::from_millis(20)));
        assert_eq!(said(&mut one, "").await.unwrap(), "A", "what waited arrives");
        let begun = std::time::Instant::now();
        assert_eq!(said(&mut two, "c").await.unwrap(), "C");
        assert!(begun.elapsed() >= Duration::from_millis(40));
        proxy.links()[0].set(Flow::Cut);
        assert_eq!(said(&mut one, "").await.unwrap(), "", "the end");
        proxy.links()[0].set(Flow::Reset);
        assert_eq!(said(&mut two, "").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn losses_happen_once_and_to_whom_they_are_meant() {
        let proxy = Proxy::start(echo().await).await;
        proxy.lose(Loss::Answer, "me", "commit");
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut other = connect().await.unwrap();
        assert_eq!(said(&mut other, "you").await.unwrap(), "YOU");
        assert_eq!(said(&mut other, "commit").await.unwrap(), "COMMIT");
        let mut mine = connect().await.unwrap();
        assert_eq!(said(&mut mine, "me").await.unwrap(), "ME");
        assert_eq!(proxy.lost(), 0);
        assert_eq!(said(&mut mine, "commit").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut again = connect().await.unwrap();
        assert_eq!(said(&mut again, "me commit").await.unwrap(), "ME COMMIT");
        assert_eq!(proxy.lost(), 1);
    }
}
