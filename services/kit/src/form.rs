//! Reads a form that a browser sends, within the limits of a body, and parameters of addresses.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};

use crate::body;
use crate::problem::Problem;

/// The names and values of a form in the body, in order.
///
/// # Errors
/// When the body is no form, or cannot be read within the limits.
pub async fn read_form(request: Request) -> Result<Vec<(String, String)>, Problem> {
    let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media.and_then(|media| media.split(';').next()).unwrap_or_default();
    if !media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let detail = "expected a body with `Content-Type: application/x-www-form-urlencoded`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let bytes = body::read_bytes(request).await?;
    Ok(form_urlencoded::parse(&bytes).into_owned().collect())
}

/// The value of a parameter in the address of a request, decoded; `None` when it is absent.
pub fn parameter(uri: &Uri, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn read(media: &str, body: &'static str) -> Result<Vec<(String, String)>, Problem> {
        let request = Request::post("/").header(CONTENT_TYPE, media).body(Body::from(body));
        read_form(request.unwrap()).await
    }

    #[tokio::test]
    async fn form_is_decoded_in_order() {
        let media = "application/x-www-form-urlencoded; charset=UTF-8";
        let fields = read(media, "title=Buy+milk%21&b=%C3%BC&b=").await.unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(fields, [("title", "Buy milk!"), ("b", "ü"), ("b", "")]);
    }

    #[test]
    fn parameters_are_decoded() {
        let uri = "/lists/x?show=open&edit=%3C+1".parse().unwrap();
        assert_eq!(parameter(&uri, "edit").as_deref(), Some("< 1"));
        assert_eq!(parameter(&uri, "other"), None);
    }

    #[tokio::test]
    async fn other_media_are_refused() {
        assert_eq!(read("text/plain", "a=b").await.unwrap_err().status, 415);
    }
}
