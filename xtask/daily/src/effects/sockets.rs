//! The ports of every service: listening sockets that runs inherit, or ports reserved for services
//! that bind by themselves.
//!
//! A listening socket stays open as long as the stack, so callers queue while a service starts or
//! restarts. A bound socket that does not listen reserves a port: the system gives the port to no
//! other process, also not for outgoing connections. It is closed just before the process is
//! spawned, because a service that does not set `SO_REUSEADDR` cannot bind beside it.
//!
//! A fixed port is bound with `SO_REUSEADDR`, so a connection in `TIME_WAIT` does not hold it. Two
//! sockets that do not listen can share a port in that way, so any other port is bound without.

use std::io;
use xtask_core::sorted::SortedMap;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::SockRef;
use xtask_core::plan::Port;
use xtask_core::stack::BindFailure;
use xtask_core::terms::Name;

use crate::system::port_holder;
use crate::system::socket::{Purpose, open, reserve_any, resolve};
use crate::system::way_out::{behind, way_out};

#[derive(Debug, Default)]
pub(crate) struct Sockets {
    services: SortedMap<Name, Vec<BoundPort>>,
}

#[derive(Debug)]
struct BoundPort {
    name: String,
    host: String,
    number: u16,
    /// None after the release for the service.
    socket: Option<OwnedFd>,
    listens: bool,
}

impl Sockets {
    /// Binds the ports of a service. Ports that it already has stay bound.
    ///
    /// # Errors
    /// One failure for each port that cannot be bound; the service then has no ports.
    pub(crate) fn bind(
        &mut self,
        service: &Name,
        ports: &[Port],
        listen: bool,
    ) -> Result<Vec<u16>, Vec<BindFailure>> {
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
                // The port was released for the service. Bind it again, or replace it if another
                // process took it.
                Some(old) => get(port, old.number, listen).or_else(|failure| match port.number {
                    Some(_) => Err(failure),
                    None => get(port, 0, listen),
                }),
                None => get(port, port.number.unwrap_or(0), listen),
            };
            match got {
                Ok(got) => held.push(got),
                Err(failure) => failures.push(*failure),
            }
        }
        if !failures.is_empty() {
            return Err(failures);
        }
        let numbers = held.iter().map(|port| port.number).collect();
        self.services.insert(service.clone(), held);
        Ok(numbers)
    }

    pub(crate) fn unbind(&mut self, service: &Name) {
        self.services.remove(service);
    }

    /// The listening sockets with these names, in order; none if one of them is missing.
    pub(crate) fn inherited<'a>(
        &'a self,
        service: &Name,
        names: &[String],
    ) -> Option<Vec<BorrowedFd<'a>>> {
        let listening = |name: &String| {
            let port = self.listening(service).find(|port| port.name == *name)?;
            Some(port.socket.as_ref()?.as_fd())
        };
        names.iter().map(listening).collect()
    }

    /// Releases the ports that the service is about to bind by itself.
    pub(crate) fn release(&mut self, service: &Name) {
        for port in self.services.get_mut(service).into_iter().flatten() {
            if !port.listens {
                port.socket = None;
            }
        }
    }

    /// Binds again the ports that an earlier run of the service had. Returns whether it has all
    /// of them; if not, it has none any more.
    pub(crate) fn reclaim(&mut self, service: &Name) -> bool {
        let bind = |port: &mut BoundPort| {
            if port.socket.is_none() {
                let address = resolve(&port.host, port.number).ok()?;
                port.socket = Some(open(address, Purpose::Reserve).ok()?.0);
            }
            Some(())
        };
        let bound = self.services.get_mut(service).into_iter().flatten().try_for_each(bind);
        if bound.is_none() {
            self.unbind(service);
        }
        bound.is_some()
    }

    /// Lets the container engine listen on the reserved ports of a service. Binds without
    /// `SO_REUSEADDR` still fail.
    pub(crate) fn share(&mut self, service: &Name) {
        for port in self.services.get_mut(service).into_iter().flatten() {
            let shared = port.socket.as_ref().map(|socket| {
                cfg!(target_os = "linux") && SockRef::from(socket).set_reuse_address(true).is_ok()
            });
            if shared == Some(false) {
                port.socket = None;
            }
        }
    }

    /// Whether the supervisor listens on this port for the service.
    pub(crate) fn listens(&self, service: &Name, number: u16) -> bool {
        self.listening(service).any(|port| port.number == number)
    }

    /// The service for which the supervisor listens on this port.
    pub(crate) fn listener_of(&self, number: u16) -> Option<&Name> {
        let mut services = self.services.iter();
        services.find_map(|(name, ports)| {
            let listens = ports.iter().any(|port| port.listens && port.number == number);
            listens.then_some(name)
        })
    }

    fn listening(&self, service: &Name) -> impl Iterator<Item = &BoundPort> {
        self.services.get(service).into_iter().flatten().filter(|port| port.listens)
    }
}

#[cfg(test)]
impl Sockets {
    /// A copy of the first socket of a service, to accept as its run would.
    pub(crate) fn listener(&self, service: &Name) -> std::net::TcpListener {
        let socket = self.services[service][0].socket.as_ref().unwrap();
        std::net::TcpListener::from(socket.try_clone().unwrap())
    }
}

/// The failures to bind these ports. None stays bound.
pub(crate) fn check(ports: &[Port]) -> Vec<BindFailure> {
    let bound = ports.iter().map(|port| get(port, port.number.unwrap_or(0), false));
    bound.filter_map(Result::err).map(|failure| *failure).collect()
}

/// What helps if the system refuses an address.
fn way_out_of_bind(error: &io::Error) -> Option<String> {
    let text = match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => "declare a `host` of this machine, such as `127.0.0.1`",
        Some(libc::EACCES) => "declare a port above 1023, or run the command as root",
        _ => return way_out(error),
    };
    Some(text.to_owned())
}

fn get(port: &Port, number: u16, listen: bool) -> Result<BoundPort, Box<BindFailure>> {
    let other = |error: io::Error| {
        let hint = behind(way_out_of_bind(&error));
        let error = format!("failed to bind port {number} of `{}`: {error}{hint}", port.host);
        Box::new(BindFailure::Other { port: number, error })
    };
    let address = resolve(&port.host, number).map_err(other)?;
    let attempt = || match (listen, number) {
        (true, _) => open(address, Purpose::Listen),
        (false, 0) => reserve_any(address),
        (false, _) => open(address, Purpose::Reserve),
    };
    let mut opened = attempt();
    let mut reason = None;
    if is_in_use(&opened) {
        reason = port_holder::reason_in_use(address);
        if reason.is_none() {
            // What held it is gone meanwhile.
            opened = attempt();
        }
    }
    match opened {
        Ok((socket, number)) => Ok(BoundPort {
            name: port.name.clone(),
            host: port.host.clone(),
            number,
            socket: Some(socket),
            listens: listen,
        }),
        Err(_) if is_in_use(&opened) => {
            let unknown = BindFailure::Held { port: number, holder: None, user: None };
            Err(Box::new(reason.unwrap_or(unknown)))
        }
        Err(error) => Err(other(error)),
    }
}

fn is_in_use<T>(opened: &io::Result<T>) -> bool {
    opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
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
    fn listening_socket_queues_callers_and_stays_bound() {
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
    fn address_of_another_machine_has_a_way_out() {
        let elsewhere = Port { host: "192.0.2.1".to_owned(), ..port("http", None) };
        for listen in [true, false] {
            let failures =
                Sockets::default().bind(&"a".into(), std::slice::from_ref(&elsewhere), listen);
            let Err(failures) = failures else { panic!() };
            let [BindFailure::Other { error, .. }] = &failures[..] else { panic!("{failures:?}") };
            assert!(error.contains("; declare a `host` of this machine"), "{error}");
        }
    }

    #[test]
    fn held_port_names_its_port_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        for listen in [true, false] {
            let failure = Sockets::default()
                .bind(&"a".into(), &[port("http", Some(number))], listen)
                .unwrap_err()
                .remove(0);
            let BindFailure::Held { port, holder, .. } = failure else { panic!("{failure:?}") };
            assert_eq!(port, number);
            if cfg!(target_os = "linux") {
                assert_eq!(holder.unwrap().pid, std::process::id());
            }
        }
    }

    #[test]
    fn reserved_port_is_free_to_bind_once_released() {
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
    fn lost_ephemeral_port_is_replaced() {
        let mut sockets = Sockets::default();
        let name = Name::from("a");
        let number = sockets.bind(&name, &[port("http", None)], false).unwrap()[0];
        sockets.release(&name);
        let _thief = TcpListener::bind(("127.0.0.1", number)).unwrap();
        assert_ne!(sockets.bind(&name, &[port("http", None)], false).unwrap(), [number]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn closed_connections_of_a_careless_server_are_recognised() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        SockRef::from(&listener).set_reuse_address(false).unwrap();
        let mut caller = TcpStream::connect(address).unwrap();
        // The side that closes first keeps the connection in `TIME_WAIT`.
        drop(listener.accept().unwrap());
        assert_eq!(std::io::Read::read(&mut caller, &mut [0]).unwrap(), 0);
        drop(caller);
        drop(listener);
        let asked = [port("http", Some(address.port()))];
        let mut sockets = Sockets::default();
        let failure = sockets.bind(&"a".into(), &asked, false).unwrap_err().remove(0);
        let BindFailure::Closing { port, remaining } = failure else { panic!("{failure:?}") };
        assert_eq!(port, address.port());
        assert!(remaining > std::time::Duration::ZERO, "{remaining:?}");
    }

    #[test]
    fn reclaim_fails_once_another_program_listens() {
        let mut sockets = Sockets::default();
        let name = Name::from("a");
        let number = sockets.bind(&name, &[port("http", None)], false).unwrap()[0];
        sockets.release(&name);
        assert!(sockets.reclaim(&name), "the port is free");
        sockets.release(&name);
        let _thief = TcpListener::bind(("127.0.0.1", number)).unwrap();
        assert!(!sockets.reclaim(&name));
    }

    #[test]
    fn time_wait_connection_does_not_hold_the_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let caller = TcpStream::connect(address).unwrap();
        // The side that closes first keeps the connection in `TIME_WAIT`.
        drop(listener.accept().unwrap());
        drop(caller);
        drop(listener);
        let bound =
            Sockets::default().bind(&"a".into(), &[port("http", Some(address.port()))], true);
        assert_eq!(bound.unwrap(), [address.port()]);
    }
}
