//! Whether the audit trail is as it was written.

use askama::Template;
use axum::http::StatusCode;

use super::{page::rendered, rejection::PageResult, shell::AdminShell, visitor::Admin};
use crate::{
    management::error::ApiError,
    service::audit::{self, VerificationView},
};

#[derive(Template)]
#[template(path = "console/verify.html")]
struct VerifyPage {
    shell: AdminShell,
    verification: VerificationView,
    /// Findings that are not shown.
    more: usize,
}

pub async fn show(visitor: Admin) -> PageResult {
    let _place = visitor.management.limits.verifying.enter(()).ok_or_else(ApiError::busy)?;
    let verification = VerificationView::from(audit::verify(visitor.store(), visitor.now, &[]).await?);
    let more = verification.found - verification.findings.len();
    Ok(rendered(StatusCode::OK, &VerifyPage { shell: AdminShell::new(&visitor, "activity"), verification, more }))
}
