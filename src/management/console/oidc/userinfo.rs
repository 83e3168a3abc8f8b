//! What the provider says of somebody beside the ID token (OpenID Connect Core 1.0 § 5.3).

use openidconnect::{
    AsyncHttpClient, HttpResponse,
    http::{Request, StatusCode, header},
};

use super::{
    FlowError,
    claims::Said,
    id_token::{Expected, subject},
    provider::{Asker, Known},
    signed::Signed,
    tokens::Tokens,
};

/// `None`: this provider has no userinfo.
///
/// # Errors
/// It does not answer, or with what cannot be read, or of somebody else than `expected_subject`.
pub async fn ask(
    known: &Known,
    asker: &Asker,
    tokens: &Tokens,
    expected: &Expected<'_>,
    expected_subject: &str,
) -> Result<Option<Said>, FlowError> {
    let Some(url) = known.metadata().userinfo_endpoint() else { return Ok(None) };
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", tokens.access_token.secret()))
        .body(Vec::new())
        .map_err(|error| asker.failed(&error))?;
    let answer = asker.call(request).await.map_err(|error| asker.failed(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(asker.said(&format!("the status is {}", answer.status())));
    }
    let (told, subject) = if is_signed(&answer) {
        let text = std::str::from_utf8(answer.body()).map_err(|error| asker.failed(&error))?;
        let told = Signed::parse(text)?.claims(known).cloned().map_err(|error| FlowError::invalid(&error))?;
        let subject = expected.subject_of_userinfo(&told)?;
        (told, subject)
    } else {
        let told: Said =
            serde_json::from_slice(answer.body()).map_err(|_| asker.said("the answer is no JSON object"))?;
        let subject = subject(&told)?;
        (told, subject)
    };
    if subject == expected_subject {
        Ok(Some(told))
    } else {
        Err(FlowError::Invalid("its userinfo is of another person (sub) than its ID token".to_owned()))
    }
}

fn is_signed(answer: &HttpResponse) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/jwt")
}
