//! `/api/v1`: what the pages show, for programs. Errors are `application/problem+json` (RFC 9457).

use axum::Json;
use axum::extract::State;

use crate::Status;
use crate::app::Shared;

/// `GET /api/v1/status`.
pub(crate) async fn status(State(app): State<Shared>) -> Json<Status> {
    Json(app.product.status())
}
