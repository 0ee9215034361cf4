//! The HTTP door: the log database for people and scripts, health, readiness and metrics.
//!
//! It binds to loopback unless told otherwise, for it asks nobody who they are. It knows nothing of
//! Kafka's protocol and shares with the TCP door only what lies below both.

mod bounded;
mod bridge;
mod entrance;
mod group_lag;
mod health;
mod inside;
mod log;
mod open_transactions;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::broker::Rooms;
use crate::config::Config;
use crate::env::Env;
use crate::metrics::{self, Metrics};

use bounded::Bounded;
pub use inside::Inside;

/// At shutdown, how long a response may still take.
const DRAIN: Duration = Duration::from_secs(2);

/// Why the door could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on {address}: {source}; free it, give --http HOST:PORT, or --no-http")]
pub struct HttpError {
    address: String,
    source: std::io::Error,
}

/// What a handler of the door can reach.
#[derive(Clone, Debug)]
struct Door {
    env: Env,
    metrics: Arc<Metrics>,
    rooms: watch::Receiver<Option<Arc<Rooms>>>,
    max_body_bytes: usize,
}

/// Opens the door where `config` says, and serves until `env` is stopping. `rooms` holds nothing
/// while the store is being opened. Returns the address, or `None` when no door is wanted or its
/// default address is taken.
///
/// # Errors
/// An address that was asked for and cannot be had.
pub async fn open(
    env: &Env,
    config: &Config,
    metrics: Arc<Metrics>,
    rooms: watch::Receiver<Option<Arc<Rooms>>>,
) -> Result<Option<SocketAddr>, HttpError> {
    let Some(address) = config.http.clone() else {
        return Ok(None);
    };
    let bound = match TcpListener::bind(&address).await {
        Ok(listener) => listener.local_addr().map(|bound| (listener, bound)),
        Err(error) => Err(error),
    };
    let (listener, bound) = match bound {
        Ok(bound) => bound,
        Err(error) if config.settings.get("trestle.http").is_none() => {
            tracing::warn!(
                %address,
                %error,
                "the default HTTP address cannot be had; going on without health and metrics over HTTP (--http HOST:PORT chooses another)"
            );
            return Ok(None);
        }
        Err(source) => return Err(HttpError { address, source }),
    };
    let router = router(Door {
        env: env.clone(),
        metrics,
        rooms,
        max_body_bytes: config.http_request_max_bytes,
    });
    let listener = Bounded::new(listener, env.clone(), config.http_max_connections);
    env.spawn("http", serve(env.clone(), listener, router));
    Ok(Some(bound))
}

/// Opens the door of `rooms` for this process alone, until `env` is stopping.
pub fn open_inside(
    env: &Env,
    config: &Config,
    metrics: Arc<Metrics>,
    rooms: watch::Receiver<Option<Arc<Rooms>>>,
) -> Inside {
    let (inside, entry) = inside::pair();
    let router = router(Door {
        env: env.clone(),
        metrics,
        rooms,
        max_body_bytes: config.http_request_max_bytes,
    });
    env.spawn("http", serve(env.clone(), entry, router));
    inside
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/-/healthy", get(health::healthy))
        .route("/-/ready", get(health::ready))
        .route("/metrics", get(metrics_text))
        .route("/openapi.json", get(openapi))
        .merge(log::routes())
        .merge(bridge::routes())
        .fallback(entrance::unknown)
        .method_not_allowed_fallback(entrance::wrong_method)
        .layer(from_fn_with_state(door.clone(), entrance::pass))
        .with_state(door)
}

async fn serve<L>(env: Env, listener: L, router: Router)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let stopping = env.stopping().clone();
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(stopping.clone().cancelled_owned());
    let deadline = async {
        stopping.cancelled().await;
        env.sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP door failed");
            }
        }
        () = deadline => {}
    }
}

/// The description of the door for programs; `docs/http-api.md` is the one for people.
async fn openapi() -> impl IntoResponse {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, include_str!("openapi.json"))
}

async fn metrics_text(State(door): State<Door>) -> impl IntoResponse {
    let rooms = door.rooms.borrow().clone();
    let mut text = door.metrics.text();
    if let Some(rooms) = rooms {
        let groups = group_lag::text(&rooms).await + &bridge::text(&rooms);
        let end = text.rfind(metrics::END).unwrap_or(text.len());
        text.insert_str(end, &(groups + &open_transactions::text(&rooms)));
    }
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}
