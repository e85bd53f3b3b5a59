//! The ports of every service: listening sockets to inherit, or numbers that are
//! free and held until the service itself binds them.
//!
//! A listening socket is kept for the stack's life, so callers queue while a service
//! starts or starts again. For a service that binds by itself, a bound socket that
//! does not listen reserves the number: the system gives it to nobody else, neither
//! as an ephemeral port nor to a caller. It is let go just before the process is
//! started, because a service that does not set `SO_REUSEADDR` could not bind beside
//! it. A connection that lingers after its end (`TIME_WAIT`) is no holder of a fixed
//! port, as those binds say `SO_REUSEADDR`; two such sockets that do not listen can
//! share a number, so a number that may be any is bound without.

use std::collections::BTreeMap;
use std::io;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt;
use xtask_core::plan::Port;
use xtask_core::stack::BindFailure;
use xtask_core::terms::Name;

use crate::system::port_holder;
use crate::system::socket::{Purpose, open, reserve_any, resolve};

/// The ports of all services.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    services: BTreeMap<Name, Vec<BoundPort>>,
}

/// One port of a service.
#[derive(Debug)]
struct BoundPort {
    name: String,
    host: String,
    number: u16,
    /// None when the number was let go for the service to bind.
    socket: Option<OwnedFd>,
    listens: bool,
}

/// Why a service has no ports.
#[derive(Debug)]
pub(crate) struct BindFailures {
    /// Why the first of those that cannot be had cannot.
    pub(crate) first: BindFailure,
    /// And the others.
    pub(crate) others: Vec<BindFailure>,
}

impl Sockets {
    /// Gets the ports of a service; those that it has already stay as they are.
    ///
    /// # Errors
    /// For each port that cannot be had; the service then has none.
    pub(crate) fn bind(
        &mut self,
        service: &Name,
        ports: &[Port],
        listen: bool,
    ) -> Result<Vec<u16>, Box<BindFailures>> {
        let mut before = self.services.remove(service).unwrap_or_default();
        let mut held = Vec::with_capacity(ports.len());
        let mut failures = Vec::new();
        for port in ports {
            let same = |old: &BoundPort| {
                old.name == port.name
                    && old.host == port.host
                    && old.listens == listen
                    && port.number.is_none_or(|number| number == old.number)
            };
            let found = before.iter().position(same).map(|at| before.swap_remove(at));
            let got = match found {
                Some(old) if old.socket.is_some() => Ok(old),
                // The number was let go: the service had it, so it is free, and asked
                // for again, or lost.
                Some(old) => get(port, old.number, listen).or_else(|failure| match port.number {
                    Some(_) => Err(failure),
                    None => get(port, 0, listen),
                }),
                None => get(port, port.number.unwrap_or(0), listen),
            };
            match got {
                Ok(got) => held.push(got),
                Err(failure) => failures.push(failure),
            }
        }
        let mut failures = failures.into_iter();
        if let Some(first) = failures.next() {
            return Err(Box::new(BindFailures { first, others: failures.collect() }));
        }
        let numbers = held.iter().map(|port| port.number).collect();
        self.services.insert(service.clone(), held);
        Ok(numbers)
    }

    /// Closes the sockets of a service and forgets its numbers.
    pub(crate) fn unbind(&mut self, service: &Name) {
        self.services.remove(service);
    }

    /// The listening sockets of these names, in order, for a run to inherit; none if
    /// one of them is missing.
    pub(crate) fn inherited<'a>(
        &'a self,
        service: &Name,
        names: &[String],
    ) -> Option<Vec<BorrowedFd<'a>>> {
        let held = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        let listening = |name: &String| {
            let port = held.iter().find(|port| port.listens && port.name == *name)?;
            Some(port.socket.as_ref()?.as_fd())
        };
        names.iter().map(listening).collect()
    }

    /// Lets go of the numbers that the service is about to bind by itself.
    pub(crate) fn release(&mut self, service: &Name) {
        for port in self.services.get_mut(service).into_iter().flatten() {
            if !port.listens {
                port.socket = None;
            }
        }
    }

    /// Keeps the numbers of a service, but lets the engine listen on them in its stead: they
    /// stay taken for everybody who does not say `SO_REUSEADDR`.
    pub(crate) fn share(&mut self, service: &Name) {
        for port in self.services.get_mut(service).into_iter().flatten() {
            let shared = port.socket.as_ref().map(|socket| {
                cfg!(target_os = "linux") && sockopt::set_socket_reuseaddr(socket, true).is_ok()
            });
            if shared == Some(false) {
                port.socket = None;
            }
        }
    }

    /// Whether the supervisor itself listens on this port for the service.
    pub(crate) fn listens(&self, service: &Name, number: u16) -> bool {
        let held = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        held.iter().any(|port| port.listens && port.number == number)
    }
}

#[cfg(test)]
impl Sockets {
    /// A copy of the first socket of a service, to accept from as its run would.
    pub(crate) fn listener(&self, service: &Name) -> std::net::TcpListener {
        let socket = self.services[service][0].socket.as_ref().unwrap();
        std::net::TcpListener::from(socket.try_clone().unwrap())
    }
}

fn get(port: &Port, number: u16, listen: bool) -> Result<BoundPort, BindFailure> {
    let other = |error: io::Error| BindFailure::Other {
        port: number,
        error: format!("cannot bind `{}` port {number}: {error}", port.host),
    };
    let address = resolve(&port.host, number).map_err(other)?;
    let opened = match (listen, number) {
        (true, _) => open(address, Purpose::Listen),
        (false, 0) => reserve_any(address),
        (false, _) => open(address, Purpose::Reserve),
    };
    match opened {
        Ok((socket, number)) => Ok(BoundPort {
            name: port.name.clone(),
            host: port.host.clone(),
            number,
            socket: Some(socket),
            listens: listen,
        }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = port_holder::of(address);
            // Of whom the system shows nothing it still shows the socket's owner.
            let user = if holder.is_none() { port_holder::user_at(address) } else { None };
            Err(BindFailure::Held { port: number, holder, user })
        }
        Err(error) => Err(other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn port(name: &str, number: Option<u16>) -> Port {
        let declared = xtask_core::terms::Place { file: String::new(), line: 1 };
        Port { name: name.into(), host: "127.0.0.1".into(), number, declared }
    }

    #[test]
    fn a_listening_socket_takes_callers_before_anybody_accepts_and_stays_the_same() {
        let mut sockets = Sockets::default();
        let name = Name::from("a");
        let ports = [port("http", None), port("metrics", None)];
        let numbers = sockets.bind(&name, &ports, true).unwrap();
        assert_ne!(numbers[0], numbers[1]);
        let _caller = TcpStream::connect(("127.0.0.1", numbers[0])).unwrap();
        assert_eq!(sockets.bind(&name, &ports, true).unwrap(), numbers);
        let names = ["metrics".to_owned(), "http".to_owned()];
        assert_eq!(sockets.inherited(&name, &names).unwrap().len(), 2);
        assert!(sockets.inherited(&name, &["none".to_owned()]).is_none());
        sockets.unbind(&name);
        assert!(TcpStream::connect(("127.0.0.1", numbers[0])).is_err());
    }

    #[test]
    fn a_fixed_port_that_somebody_listens_on_is_held_and_the_holder_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        for listen in [true, false] {
            let failure = Sockets::default()
                .bind(&"a".into(), &[port("http", Some(number))], listen)
                .unwrap_err()
                .first;
            let BindFailure::Held { port, holder, .. } = failure else { panic!("{failure:?}") };
            assert_eq!(port, number);
            if cfg!(target_os = "linux") {
                assert_eq!(holder.unwrap().pid, std::process::id());
            }
        }
    }

    #[test]
    fn a_reserved_number_refuses_callers_and_is_free_to_bind_once_released() {
        let mut sockets = Sockets::default();
        let name = Name::from("a");
        let number = sockets.bind(&name, &[port("http", None)], false).unwrap()[0];
        assert!(TcpStream::connect(("127.0.0.1", number)).is_err());
        sockets.release(&name);
        let listener = TcpListener::bind(("127.0.0.1", number)).unwrap();
        assert_eq!(listener.local_addr().unwrap().port(), number);
        drop(listener);
        assert_eq!(sockets.bind(&name, &[port("http", None)], false).unwrap(), [number]);
    }

    #[test]
    fn an_ephemeral_number_that_was_lost_is_replaced() {
        let mut sockets = Sockets::default();
        let name = Name::from("a");
        let number = sockets.bind(&name, &[port("http", None)], false).unwrap()[0];
        sockets.release(&name);
        let _thief = TcpListener::bind(("127.0.0.1", number)).unwrap();
        assert_ne!(sockets.bind(&name, &[port("http", None)], false).unwrap(), [number]);
    }

    #[test]
    fn a_connection_that_lingers_is_no_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let caller = TcpStream::connect(address).unwrap();
        // The side that closes first lingers.
        drop(listener.accept().unwrap());
        drop(caller);
        drop(listener);
        let bound =
            Sockets::default().bind(&"a".into(), &[port("http", Some(address.port()))], true);
        assert_eq!(bound.unwrap(), [address.port()]);
    }
}
