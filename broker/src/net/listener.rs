//! Binding addresses and accepting connections, and the orderly end of both.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::connection::{Closed, Connection};
use super::door::{Call, Client, Door, Limits, Told};
use super::frame::SizeLimits;
use crate::api::Outcome;
use crate::api::context::Context;
use crate::broker::Rooms;
use crate::config::{Config, ListenerConfig};
use crate::env::Env;
use crate::metrics::Metrics;

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: u32 = 1024;

/// Silence after which the kernel asks whether a client is still there, and how often it asks again.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Pause after a failed accept (no file descriptors left, say): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in flight may take when the broker stops.
const DRAIN: Duration = Duration::from_secs(4);

/// A listener that is open.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Its name.
    pub name: Arc<str>,
    /// The address it is bound to, with its real port.
    pub address: SocketAddr,
    /// What its clients are told; `None` for the address that each one dialled.
    pub advertised: Option<Arc<(String, u16)>>,
}

/// Opens every configured listener and serves what connects, from whatever rooms are in
/// `in_rooms` when a request starts, until the broker stops.
///
/// # Errors
/// An address that cannot be bound: one sentence that says which.
pub async fn open(
    env: &Env,
    config: &Arc<Config>,
    metrics: Arc<Metrics>,
    in_rooms: watch::Receiver<Option<Arc<Rooms>>>,
) -> anyhow::Result<Vec<Bound>> {
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        listeners.push((bind(listener).await?, listener));
    }
    let watch_rooms = in_rooms.clone();
    let serve = move |call: Call<'_>| match in_rooms.borrow().clone() {
        Some(rooms) => serve(rooms, call),
        None => Box::pin(std::future::ready(Outcome::Close(
            "the store is not open".to_owned(),
        ))),
    };
    let door = Door::new(limits(config), metrics, env.clock(), Box::new(serve));
    env.spawn("connection sweeper", sweep(env.clone(), door.clone()));
    let mut all = Vec::new();
    for (listener, config) in listeners {
        let address = listener.local_addr().context("the address of a listener")?;
        let advertised = config.advertised.clone().map(|(host, port)| {
            let port = if port == 0 { address.port() } else { port };
            Arc::new((host, port))
        });
        let bound = Bound {
            name: Arc::from(config.name.as_str()),
            address,
            advertised,
        };
        all.push(bound.clone());
        let accepting = accept(
            env.clone(),
            listener,
            bound,
            door.clone(),
            watch_rooms.clone(),
        );
        env.spawn("listener", accepting);
    }
    Ok(all)
}

fn limits(config: &Config) -> Limits {
    let request_max_bytes = usize::try_from(config.request_max_bytes).unwrap_or(0);
    Limits {
        size: SizeLimits {
            request_max_bytes,
            plain_request_max_bytes: config.plain_request_max_bytes,
        },
        queued_request_max_bytes: config.queued_request_max_bytes,
        read_ahead: config.read_ahead_requests,
        max_connections: config.max_connections,
        idle: u64::try_from(config.connections_max_idle_ms)
            .ok()
            .map(Duration::from_millis),
        stall: config.request_stall,
    }
}

fn serve(rooms: Arc<Rooms>, call: Call<'_>) -> futures::future::BoxFuture<'static, Outcome> {
    let ctx = Context {
        image: rooms.metadata.image(),
        rooms,
        version: call.version,
        client_id: call.client.id.clone(),
        advertised: call.client.told.address.clone(),
        peer: call.client.peer,
        session: call.client.session.clone(),
        hurry: call.hurry,
    };
    (call.api.run)(ctx, call.body)
}

async fn bind(config: &ListenerConfig) -> anyhow::Result<TcpListener> {
    let ListenerConfig {
        name, host, port, ..
    } = config;
    let what = || format!("listener {name} cannot listen on {host}:{port}");
    let addresses = tokio::net::lookup_host((host.as_str(), *port))
        .await
        .with_context(|| format!("{}: its host has no address", what()))?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind_address(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    let remedy = match last.kind() {
        io::ErrorKind::AddrInUse => ": another process listens there; choose another --listen",
        io::ErrorKind::PermissionDenied => ": a port below 1024 needs a privilege",
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        _ => "",
    };
    Err(last).with_context(|| format!("{}{remedy}", what()))
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A broker that starts again takes its port over from connections that are still closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(
    env: Env,
    listener: TcpListener,
    bound: Bound,
    door: Arc<Door>,
    in_rooms: watch::Receiver<Option<Arc<Rooms>>>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = env.stopping().cancelled() => return,
        };
        if let Some(rooms) = &*in_rooms.borrow() {
            door.allow(rooms.metadata.image().config.max_connections);
        }
        match accepted {
            Ok((stream, peer)) => match door.enter() {
                Some(watch) => {
                    let client = Client::new(peer, told(&bound, &stream));
                    if let Err(error) = set_options(&stream) {
                        tracing::debug!(%peer, %error, "a connection was gone at once");
                        continue;
                    }
                    let serve = Connection::new(stream, door.clone(), client, watch);
                    let door = door.clone();
                    env.spawn("connection", async move {
                        say(&door, peer, serve.await);
                    });
                }
                None => refuse(&door, peer),
            },
            Err(error) => {
                tracing::error!(listener = %bound.name, %error, "a connection cannot be accepted");
                env.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn refuse(door: &Door, peer: SocketAddr) {
    let limit = door.max_connections();
    if door.is_new(peer.ip(), &Arc::from("max.connections")) {
        tracing::warn!(%peer, limit, "refused: there are max.connections connections");
    } else {
        tracing::debug!(%peer, limit, "refused: there are max.connections connections");
    }
}

/// What a client on `stream` is told. The address it dialled is one that it can reach; the one that
/// the listener is bound to may mean all of them.
fn told(bound: &Bound, stream: &TcpStream) -> Told {
    let address = bound.advertised.clone().unwrap_or_else(|| {
        let dialled = stream.local_addr().unwrap_or(bound.address);
        Arc::new((dialled.ip().to_canonical().to_string(), dialled.port()))
    });
    Told {
        address,
        listener: bound.name.clone(),
        configured: bound.advertised.is_some(),
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Logs how a connection ended.
fn say(door: &Door, peer: SocketAddr, closed: Closed) {
    match &closed {
        Closed::Panic { .. } => tracing::error!(%peer, "closed: {closed}"),
        Closed::Frame(error)
            if error.is_wrong_protocol()
                && door.is_new(peer.ip(), &Arc::from(error.to_string())) =>
        {
            tracing::warn!(%peer, "closed: {closed}");
        }
        _ => tracing::debug!(%peer, "closed: {closed}"),
    }
}

/// Ends idle connections while the broker runs, and all of them when it stops.
async fn sweep(env: Env, door: Arc<Door>) {
    let interval = door.sweep_interval();
    loop {
        tokio::select! {
            () = env.sleep(interval) => door.sweep(interval),
            () = env.stopping().cancelled() => break,
        }
    }
    door.drain();
    if env.timeout(DRAIN, door.emptied()).await.is_none() {
        door.end();
        door.emptied().await;
    }
}
