//! Liveness and readiness, for whoever watches over the process.

use axum::extract::State;
use axum::http::StatusCode;
use trestle_storage::StoreState;

use super::Door;

/// `GET /-/healthy`: 200 as long as the process runs; what needs a restart ends the process.
pub(super) async fn healthy() -> &'static str {
    "healthy\n"
}

/// `GET /-/ready`: 200 when produces and fetches are served; else 503 and the reason.
pub(super) async fn ready(State(door): State<Door>) -> (StatusCode, String) {
    match obstacle(&door) {
        None => (StatusCode::OK, "ready\n".into()),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        ),
    }
}

fn obstacle(door: &Door) -> Option<String> {
    if door.env.stopping().is_cancelled() {
        return Some("the broker is stopping".into());
    }
    let Some(rooms) = door.rooms.borrow().clone() else {
        return Some("the store is being opened".into());
    };
    match &*rooms.store.state().borrow() {
        StoreState::Open => None,
        StoreState::Stalled(why) => Some(format!("the store does not take writes: {why}")),
        StoreState::Closed(error) => Some(format!("the store is closed: {error}")),
    }
}
