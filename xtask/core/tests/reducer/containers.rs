//! What a run in a container receives: its image, its ports, and the addresses of others.

use xtask_core::plan::{Program, Service};
use xtask_core::stack::effect::{Container, Neighbour, Published};
use xtask_core::stack::{Artifact, Command, Effect, Event, LinkedProgram};
use xtask_core::terms::Placement;

use crate::scenario::Scenario;
use crate::support::{With, service};

/// A service whose image listens on 7000, with any number outside.
fn image(name: &str) -> Service {
    let mut image = service(name).port(None);
    image.program = Program::Image { image: "bank:1".to_owned(), ports: vec![7000] };
    image.placement = Placement::Container;
    image
}

fn built_into_an_image(name: &str) -> Service {
    let mut built = service(name).built();
    built.placement = Placement::Container;
    built
}

fn accept(s: &mut Scenario, name: &str, reference: &str) {
    s.linked(name);
    let artifact = Artifact {
        path: "/kept/1".to_owned(),
        linked: LinkedProgram::default(),
        content: 1,
        image: Some(reference.to_owned()),
    };
    s.event(Event::Accepted { service: name.into(), artifact });
}

/// The command of the last start of a service.
fn command(s: &Scenario, name: &str) -> Command {
    let of = |effect: &Effect| match effect {
        Effect::Spawn { service, command, .. } if **service == *name => Some(command.clone()),
        _ => None,
    };
    s.all.iter().rev().find_map(of).unwrap()
}

fn container(s: &Scenario, name: &str) -> Container {
    command(s, name).container.unwrap()
}

#[test]
fn image_port_is_fixed_inside_and_free_outside() {
    let process = service("p").needs("a").calls("A_PORT", "a");
    let inside = built_into_an_image("c").needs("a").calls("A_PORT", "a");
    let mut s = Scenario::of([image("a").calls("OWN", "a"), process, inside]);
    s.bind("a", &[40_000]);
    s.start("a");
    accept(&mut s, "c", "c:1");
    let host = "127.0.0.1".to_owned();
    assert_eq!(container(&s, "a").ports, [Published { host, outside: 40_000, inside: 7000 }]);
    let address = |s: &Scenario, name: &str| command(s, name).env[0].1.clone();
    assert_eq!(address(&s, "a"), "7000");
    assert_eq!(address(&s, "p"), "40000");
    assert_eq!(address(&s, "c"), "7000");
}

#[test]
fn container_gets_published_ports_of_neighbours() {
    let mut far = service("far").external().port(Some(80));
    far.ports[0].host = "example.org".to_owned();
    let near = service("near").external().port(Some(81));
    let user = built_into_an_image("c").using("p").using("a").using("far").using("near");
    let user = user.using("held");
    let held = built_into_an_image("held").port(None).activated();
    let mut s = Scenario::of([image("a"), far, near, service("p").port(None), held, user]);
    s.bind("p", &[40_001]);
    s.bind("a", &[40_002]);
    s.bind("held", &[40_003]);
    accept(&mut s, "c", "c:1");
    let here = |name: &str, port| Neighbour {
        name: name.into(),
        ports: vec![("127.0.0.1".to_owned(), port)],
        contained: name == "held",
    };
    let listening = [here("held", 40_003), here("near", 81), here("p", 40_001)];
    assert_eq!(container(&s, "c").neighbours, listening);
}

#[test]
fn another_image_replaces_the_run() {
    let mut s = Scenario::of([built_into_an_image("c")]);
    let wanted = |effect: &&Effect| matches!(effect, Effect::Accept { image: Some(_), .. });
    accept(&mut s, "c", "c:1");
    assert_eq!(s.all.iter().filter(wanted).count(), 1);
    assert_eq!(container(&s, "c").image, "c:1");
    s.start("c");
    s.apply([built_into_an_image("c")]);
    accept(&mut s, "c", "c:1");
    assert_eq!(s.signalled(), [""; 0], "nothing changed");
    s.apply([built_into_an_image("c")]);
    accept(&mut s, "c", "c:2");
    assert_eq!(s.signalled(), ["c"]);
}

#[test]
fn moving_into_a_container_replaces_the_run() {
    let mut s = Scenario::of([service("c").built()]);
    s.built("c", 1);
    s.start("c");
    s.apply([built_into_an_image("c")]);
    accept(&mut s, "c", "c:1");
    assert_eq!(s.signalled(), ["c"]);
}
