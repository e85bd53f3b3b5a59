//! The base URL by which the caller reached this service, for absolute URLs in bodies.
//!
//! A proxy's `X-Forwarded-*` has precedence over `Host`. A value with a character that no host
//! contains is ignored, so that a request cannot inject markup into a body.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that are encoded: those that RFC 3986 does not call unreserved.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Scheme, host, port and path prefix, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl<S: Send + Sync> FromRequestParts<S> for BaseUrl {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
        Ok(Self::from_headers(&parts.headers, authority.as_deref()))
    }
}

impl BaseUrl {
    fn from_headers(headers: &HeaderMap, authority: Option<&str>) -> Self {
        let scheme = first(headers, "x-forwarded-proto")
            .filter(|scheme| matches!(*scheme, "http" | "https"))
            .unwrap_or("http");
        let hosts = [first(headers, "x-forwarded-host"), first(headers, HOST.as_str()), authority];
        let host = hosts.into_iter().flatten().find(|host| is_host(host)).unwrap_or("localhost");
        let prefix = first(headers, "x-forwarded-prefix").filter(|p| is_prefix(p)).unwrap_or("");
        Self(format!("{scheme}://{host}{}", prefix.trim_end_matches('/')))
    }

    /// The absolute URL of a path given by its segments, each encoded.
    pub fn join<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> String {
        let encoded = segments.into_iter().map(|segment| utf8_percent_encode(segment, &RESERVED));
        encoded.fold(self.0.clone(), |url, segment| format!("{url}/{segment}"))
    }
}

fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split(',').next().unwrap_or_default().trim())
}

fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(allowed)
}

fn is_prefix(prefix: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~%".contains(&byte);
    prefix.starts_with('/') && !prefix.starts_with("//") && prefix.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(pairs: &[(&'static str, &'static str)]) -> String {
        let headers = pairs.iter().map(|(name, value)| {
            (name.parse().unwrap(), axum::http::HeaderValue::from_static(value))
        });
        BaseUrl::from_headers(&headers.collect(), None).0
    }

    #[test]
    fn host_header_is_the_base() {
        assert_eq!(base(&[("host", "localhost:5001")]), "http://localhost:5001");
    }

    #[test]
    fn forwarded_headers_override_host() {
        let headers = [
            ("host", "10.0.0.1:5001"),
            ("x-forwarded-host", "todo.example, inner"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/api/"),
        ];
        assert_eq!(base(&headers), "https://todo.example/api");
    }

    #[test]
    fn host_with_markup_is_ignored() {
        assert_eq!(base(&[("host", "a\"><script>")]), "http://localhost");
    }

    #[test]
    fn segments_are_encoded() {
        let url = BaseUrl("http://h".to_owned()).join(["lists", "a/b ü"]);
        assert_eq!(url, "http://h/lists/a%2Fb%20%C3%BC");
    }
}
