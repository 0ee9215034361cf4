//! What all connections share: the budget, the limits, the list by which they are watched, and who
//! has been greeted.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use slatedb_common::clock::SystemClock;
use tokio::sync::Notify;

use super::frame::SizeLimits;
use super::input::Budget;
use crate::api::context::Hurry;
use crate::api::session::Session;
use crate::api::{Api, Outcome};
use crate::metrics::Metrics;

/// Runs one request.
pub(super) type Serve = Box<dyn Fn(Call<'_>) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// One request, and who sent it.
pub(super) struct Call<'a> {
    /// The line of the table that runs it.
    pub(super) api: &'static Api,
    /// At which version.
    pub(super) version: i16,
    /// For whom.
    pub(super) client: &'a Client,
    /// Says when another request waits behind it.
    pub(super) hurry: Arc<Hurry>,
    /// What follows the header.
    pub(super) body: BytesMut,
}

/// Where clients are told to connect, and why there.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Host and port.
    pub(super) address: Arc<(String, u16)>,
    /// The listener that it belongs to.
    pub(super) listener: Arc<str>,
    /// Whether it was configured; else it is what the client dialled.
    pub(super) configured: bool,
}

/// Who is at the other end.
#[derive(Debug)]
pub(super) struct Client {
    /// Its address.
    pub(super) peer: SocketAddr,
    /// What it is told.
    pub(super) told: Told,
    /// What its connection remembers.
    pub(super) session: Arc<Session>,
    /// Its name for itself, from its latest request.
    pub(super) id: Arc<str>,
    greeted: bool,
}

impl Client {
    /// A client that has not said anything.
    pub(super) fn new(peer: SocketAddr, told: Told) -> Self {
        Self {
            peer,
            told,
            session: Arc::default(),
            id: Arc::from(""),
            greeted: false,
        }
    }

    /// Notes the name in its latest request.
    pub(super) fn set_id(&mut self, id: &str) {
        if *self.id != *id {
            self.id = Arc::from(id);
        }
    }

    /// After its first answer, says in the log that it is here and where it was told to connect,
    /// unless a client of that name has come from there before.
    pub(super) fn greet(&mut self, door: &Door) {
        if self.greeted {
            return;
        }
        self.greeted = true;
        if !door.is_new(self.peer.ip(), &self.id) {
            return;
        }
        let software = self.session.software();
        let (host, port) = &*self.told.address;
        tracing::info!(
            peer = %self.peer,
            client_id = ?self.id,
            software = software.map(|own| format!("{} {}", own.name, own.version)),
            listener = %self.told.listener,
            told = format!("{host}:{port}"),
            why = if self.told.configured {
                "it is the listener's advertised address"
            } else {
                "the client dialled it, and no address is advertised"
            },
            "new client",
        );
    }
}

/// What connections are bound by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bounds on the size of one request.
    pub(super) size: SizeLimits,
    /// `queued.max.request.bytes`: of all requests that are not answered.
    pub(super) queued_request_max_bytes: usize,
    /// Requests read and not answered, of one connection.
    pub(super) read_ahead: usize,
    /// `max.connections` at the start.
    pub(super) max_connections: usize,
    /// `connections.max.idle.ms`; `None` for no limit.
    pub(super) idle: Option<Duration>,
    /// How long the rest of a request may keep us waiting.
    pub(super) stall: Duration,
}

/// Clients remembered as greeted, at most; then all are forgotten.
const GREETED_MAX: usize = 10_000;

/// What all connections of a broker share.
pub(super) struct Door {
    /// Runs requests.
    pub(super) serve: Serve,
    /// Bytes of requests in flight.
    pub(super) budget: Budget,
    /// What connections are bound by.
    pub(super) limits: Limits,
    /// Counts what happens here.
    pub(super) metrics: Arc<Metrics>,
    clock: Arc<dyn SystemClock>,
    watched: Mutex<HashMap<u64, Watched>>,
    next_number: AtomicU64,
    /// `max.connections` as it is now.
    max_connections: AtomicUsize,
    draining: AtomicBool,
    emptied: Notify,
    greeted: Mutex<HashSet<(IpAddr, Arc<str>)>>,
}

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// Read no more, finish what was read, close.
    Drain,
    /// Close now, for this reason.
    End(&'static str),
}

const DRAIN: u8 = 1;
const END_IDLE: u8 = 2;
const END_STALLED: u8 = 3;
const END_STOPPING: u8 = 4;

/// Where a connection and its watcher meet.
#[derive(Debug, Default)]
struct Signals {
    waker: AtomicWaker,
    order: AtomicU8,
    moved: AtomicBool,
    owed: AtomicBool,
    busy: AtomicBool,
}

impl Signals {
    fn order(&self, order: u8) {
        self.order.store(order, Ordering::Release);
        self.waker.wake();
    }
}

struct Watched {
    signals: Arc<Signals>,
    quiet: Duration,
}

/// A connection's place in the list of its door; gives it up when dropped.
pub(super) struct Watch {
    signals: Arc<Signals>,
    number: u64,
    door: Arc<Door>,
}

impl Watch {
    /// Orders wake this from now on.
    pub(super) fn register(&self, waker: &Waker) {
        self.signals.waker.register(waker);
    }

    /// What to do.
    pub(super) fn order(&self) -> Order {
        match self.signals.order.load(Ordering::Acquire) {
            DRAIN => Order::Drain,
            END_IDLE => Order::End("nothing moved for connections.max.idle.ms"),
            END_STALLED => {
                Order::End("the rest of a request did not come in trestle.request.stall.ms")
            }
            END_STOPPING => Order::End("the broker stopped before a request was done"),
            _ => Order::Serve,
        }
    }

    /// Says how the connection is: `moved` since the last report, `owed` bytes by its client,
    /// `busy` with its requests.
    pub(super) fn report(&self, moved: bool, owed: bool, busy: bool) {
        if moved {
            self.signals.moved.store(true, Ordering::Relaxed);
        }
        self.signals.owed.store(owed, Ordering::Relaxed);
        self.signals.busy.store(busy, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.door.metrics.net.connections.dec();
        let mut watched = self.door.watched.lock();
        watched.remove(&self.number);
        if watched.is_empty() {
            self.door.emptied.notify_waiters();
        }
    }
}

impl Door {
    /// A door through which requests reach `serve`.
    pub(super) fn new(
        limits: Limits,
        metrics: Arc<Metrics>,
        clock: Arc<dyn SystemClock>,
        serve: Serve,
    ) -> Arc<Self> {
        let in_flight_bytes = metrics.net.in_flight_bytes.clone();
        Arc::new(Self {
            serve,
            budget: Budget::new(limits.queued_request_max_bytes, in_flight_bytes),
            limits,
            metrics,
            clock,
            watched: Mutex::default(),
            max_connections: AtomicUsize::new(limits.max_connections),
            next_number: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            emptied: Notify::new(),
            greeted: Mutex::default(),
        })
    }

    /// A request of `api` starts. Returns when that was, for [`Door::answered`].
    pub(super) fn started(&self, api: &Api) -> DateTime<Utc> {
        self.metrics.api.request(api.name);
        self.clock.now()
    }

    /// A request of `api` that started at `start` is answered.
    pub(super) fn answered(&self, api: &Api, start: DateTime<Utc>) {
        // A clock that was set back meanwhile gives nothing to count.
        if let Ok(elapsed) = (self.clock.now() - start).to_std() {
            self.metrics.api.answered(api.name, elapsed);
        }
    }

    /// `max.connections` as it is now.
    pub(super) fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    /// From now on there may be so many connections. Those that are open stay.
    pub(super) fn allow(&self, max_connections: usize) {
        self.max_connections
            .store(max_connections, Ordering::Relaxed);
    }

    /// A place for one more connection, or `None` at `max.connections`.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Watch> {
        let signals = Arc::<Signals>::default();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        {
            let mut watched = self.watched.lock();
            if watched.len() >= self.max_connections() {
                self.metrics.net.connections_refused.inc();
                return None;
            }
            // Under the lock: a drain that begins now finds this one in the list.
            if self.draining.load(Ordering::Relaxed) {
                signals.order.store(DRAIN, Ordering::Relaxed);
            }
            let watch = Watched {
                signals: signals.clone(),
                quiet: Duration::ZERO,
            };
            watched.insert(number, watch);
        }
        self.metrics.net.connections.inc();
        self.metrics.net.connections_opened.inc();
        Some(Watch {
            signals,
            number,
            door: self.clone(),
        })
    }

    /// How often [`Door::sweep`] is to be called.
    pub(super) fn sweep_interval(&self) -> Duration {
        let shortest = self.limits.idle.unwrap_or(Duration::MAX);
        let shortest = shortest.min(self.limits.stall);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }

    /// Ends the connections on which nothing has moved for too long. `interval` has passed since the
    /// last time.
    pub(super) fn sweep(&self, interval: Duration) {
        for watched in self.watched.lock().values_mut() {
            let signals = &watched.signals;
            if signals.moved.swap(false, Ordering::Relaxed) {
                watched.quiet = Duration::ZERO;
                continue;
            }
            watched.quiet += interval;
            if signals.owed.load(Ordering::Relaxed) {
                if watched.quiet >= self.limits.stall {
                    signals.order(END_STALLED);
                }
            } else if !signals.busy.load(Ordering::Relaxed)
                && self.limits.idle.is_some_and(|idle| watched.quiet >= idle)
            {
                signals.order(END_IDLE);
            }
        }
    }

    /// Tells every connection to finish what it has read and close.
    pub(super) fn drain(&self) {
        let watched = self.watched.lock();
        self.draining.store(true, Ordering::Relaxed);
        for watched in watched.values() {
            watched.signals.order(DRAIN);
        }
    }

    /// Closes every connection that is left.
    pub(super) fn end(&self) {
        for watched in self.watched.lock().values() {
            watched.signals.order(END_STOPPING);
        }
    }

    /// Returns when there are no connections.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.watched.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Whether nothing called `name` has come from `peer` before.
    pub(super) fn is_new(&self, peer: IpAddr, name: &Arc<str>) -> bool {
        let mut greeted = self.greeted.lock();
        if greeted.len() >= GREETED_MAX {
            greeted.clear();
        }
        greeted.insert((peer, name.clone()))
    }
}
