//! The base URL by which the caller reached this service, for absolute URLs in bodies.
//!
//! A proxy's `X-Forwarded-*` has precedence over `Host` if `ALLOWED_HOSTS` lists the forwarded
//! host: any caller can send these headers, and the URL ends up in bodies.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::callers::Callers;

/// The characters that are encoded: those that RFC 3986 does not call unreserved.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Scheme, host, port and path prefix, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl<S: Send + Sync> FromRequestParts<S> for BaseUrl {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let callers = parts.extensions.get::<Callers>();
        let authority = parts.uri.authority().map(Authority::as_str);
        Ok(Self::new(&parts.headers, authority, |host| callers.is_some_and(|c| c.lists(host))))
    }
}

impl BaseUrl {
    /// `authority` is that of an absolute request target. `trusts` decides about a forwarded host.
    fn new(headers: &HeaderMap, authority: Option<&str>, trusts: impl Fn(&str) -> bool) -> Self {
        let Some(host) = first(headers, "x-forwarded-host").filter(|host| trusts(host)) else {
            let host = authority.or_else(|| headers.get(HOST)?.to_str().ok());
            return Self(format!("http://{}", host.unwrap_or("localhost")));
        };
        let scheme = first(headers, "x-forwarded-proto")
            .filter(|scheme| matches!(*scheme, "http" | "https"))
            .unwrap_or("http");
        let prefix = first(headers, "x-forwarded-prefix").filter(|p| is_prefix(p)).unwrap_or("");
        Self(format!("{scheme}://{host}{}", prefix.trim_end_matches('/')))
    }

    /// The absolute URL of a path that is encoded already.
    pub(crate) fn with_path(&self, path: &str) -> String {
        format!("{}{path}", self.0)
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
        BaseUrl::new(&headers.collect(), None, |host| host == "todo.example").0
    }

    #[test]
    fn host_header_is_the_base() {
        assert_eq!(base(&[("host", "localhost:5001")]), "http://localhost:5001");
    }

    #[test]
    fn forwarded_headers_of_known_hosts_override_host() {
        let headers = |forwarded| {
            [
                ("host", "10.0.0.1:5001"),
                ("x-forwarded-host", forwarded),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-prefix", "/api/"),
            ]
        };
        assert_eq!(base(&headers("todo.example, inner")), "https://todo.example/api");
        assert_eq!(base(&headers("evil.example")), "http://10.0.0.1:5001");
    }

    #[test]
    fn segments_are_encoded() {
        let url = BaseUrl("http://h".to_owned()).join(["lists", "a/b ü"]);
        assert_eq!(url, "http://h/lists/a%2Fb%20%C3%BC");
    }
}
