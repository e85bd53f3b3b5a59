//! Who may call: requests for a foreign host name and pages of another origin are refused.
//!
//! A page anywhere can make a browser send requests to this machine. If the page's own name is
//! resolved to a loopback address (DNS rebinding), the browser even lets it read the answers. Such
//! requests carry the foreign name in `Host`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;
use crate::settings::{SettingError, Settings};

/// The hosts and origins that a service answers.
#[derive(Clone, Debug)]
pub struct Callers {
    name: &'static str,
    hosts: Arc<[String]>,
    open_owners: bool,
}

/// The address of this service's end of a connection, as an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress(pub(crate) SocketAddr);

impl Callers {
    /// Reads `ALLOWED_HOSTS`, names or addresses separated by commas, and `OPEN_OWNERS`, which
    /// allows pages of every origin, and callers without a token. `name` is the service's own host
    /// name.
    ///
    /// # Errors
    /// When a host has a port or another character that no host has, or `OPEN_OWNERS` is neither
    /// `true` nor `false`.
    pub fn from_settings(name: &'static str, settings: &Settings) -> Result<Self, SettingError> {
        let hosts = settings.text("ALLOWED_HOSTS")?.unwrap_or_default();
        let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
        let expected = "host names without ports, such as `todo.example, 10.0.0.1`";
        let checked = hosts.map(|host| match host.parse::<Authority>() {
            Ok(authority) if authority.as_str() == authority.host() => Ok(normal(host)),
            _ => Err(SettingError::bad("ALLOWED_HOSTS", host, expected)),
        });
        Ok(Self {
            name,
            hosts: checked.collect::<Result<_, _>>()?,
            open_owners: settings.parsed("OPEN_OWNERS", false, "`true` or `false`")?,
        })
    }

    /// Whether pages of every origin may call, and callers without a token may use what belongs to
    /// no account.
    pub(crate) fn open_owners(&self) -> bool {
        self.open_owners
    }

    /// Whether `ALLOWED_HOSTS` lists the host of `authority`.
    pub(crate) fn lists(&self, authority: &str) -> bool {
        let authority = authority.parse::<Authority>();
        authority.is_ok_and(|authority| self.hosts.contains(&normal(authority.host())))
    }

    /// Whether this service answers for the host of `authority`. `local` is the address that the
    /// caller connected to. A foreign page cannot have it as its name.
    fn answers_for(&self, authority: &Authority, local: Option<IpAddr>) -> bool {
        let host = normal(authority.host());
        match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() || Some(address) == local => true,
            Err(_) if is_loopback_name(&host) || host == self.name => true,
            _ => self.hosts.contains(&host),
        }
    }

    /// Checks the host and the origin of a request.
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let host = host(request.headers())?;
        let local =
            request.extensions().get::<LocalAddress>().map(|local| local.0.ip().to_canonical());
        // The authority of an absolute request target has precedence over `Host`.
        for authority in [Some(&host), request.uri().authority()].into_iter().flatten() {
            if !self.answers_for(authority, local) {
                let detail = format!(
                    "`{}` is not a name of this service; `ALLOWED_HOSTS` can list it",
                    authority.host()
                );
                return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
            }
        }
        let same = |origin: &str| {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()))
        };
        let mut origins = request.headers().get_all(ORIGIN).iter();
        if self.open_owners || origins.all(|origin| origin.to_str().is_ok_and(same)) {
            return Ok(());
        }
        let detail = "pages of other origins may not call; `OPEN_OWNERS=true` allows them";
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

/// Refuses requests for other hosts and from other origins.
pub(crate) async fn check(
    State(callers): State<Callers>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = callers.check(&request) {
        return problem.into_response();
    }
    request.extensions_mut().insert(callers);
    next.run(request).await
}

/// The one `Host` header of a request.
fn host(headers: &HeaderMap) -> Result<Authority, Problem> {
    let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, detail);
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(bad("a request must have exactly one `Host` header"));
    };
    let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let host = host.filter(|host| !host.host().is_empty() && !host.as_str().contains('@'));
    host.ok_or_else(|| bad("the `Host` header is not a host with an optional port"))
}

/// In lower case, without brackets or a final dot.
fn normal(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Names that every resolver answers with a loopback address (RFC 6761).
fn is_loopback_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(pairs: &[(&str, &str)], headers: &[(&str, &str)]) -> u16 {
        let settings = Settings::from_pairs(pairs.iter().copied());
        let callers = Callers::from_settings("todo", &settings).unwrap();
        let mut request = Request::get("/lists");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(LocalAddress("10.1.2.3:5001".parse().unwrap()));
        callers.check(&request).map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_own_hosts_are_answered() {
        let pairs = [("ALLOWED_HOSTS", "todo.example, 192.0.2.7")];
        for (host, expected) in [
            ("localhost:5001", 200),
            ("LOCALHOST.", 200),
            ("dev.localhost", 200),
            ("127.0.0.1:9", 200),
            ("127.8.8.8", 200),
            ("[::1]:5001", 200),
            ("todo", 200),
            ("todo:5001", 200),
            ("Todo.Example:443", 200),
            ("192.0.2.7", 200),
            ("10.1.2.3:5001", 200),
            ("10.1.2.4:5001", 421),
            ("rebind.evil.example:5001", 421),
            ("todo.evil.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("", 400),
            ("a b", 400),
            ("user@localhost", 400),
        ] {
            assert_eq!(status(&pairs, &[("host", host)]), expected, "{host:?}");
        }
    }

    #[test]
    fn exactly_one_host_is_required() {
        assert_eq!(status(&[], &[]), 400);
        assert_eq!(status(&[], &[("host", "localhost"), ("host", "localhost")]), 400);
    }

    #[test]
    fn foreign_origin_needs_open_owners() {
        let open = [("OPEN_OWNERS", "true")];
        for (origin, closed) in [
            ("https://evil.example", 403),
            ("null", 403),
            ("http://localhost:8080", 403),
            ("http://localhost:5001", 200),
        ] {
            let headers = [("host", "localhost:5001"), ("origin", origin)];
            assert_eq!(status(&[], &headers), closed, "{origin}");
            assert_eq!(status(&open, &headers), 200, "{origin}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (name, value) in [("ALLOWED_HOSTS", "a:80"), ("OPEN_OWNERS", "yes")] {
            let error = Callers::from_settings("todo", &Settings::from_pairs([(name, value)]));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}` is `{value}`")), "{error}");
        }
    }
}
