//! Services of a published image: ports, volumes, variables and probes.

use super::engine::Made;
use super::stacks::ask;
use xtask_test_support::{Fixture, PackageSpec, SERVICE};

/// A program that is made into the image of the others, and one that calls it.
fn bank(image: &str) -> Fixture {
    Fixture::new("bank")
        .package(
            PackageSpec::new("vault", "vault")
                .bin("vaultd", SERVICE)
                .metadata("[package.metadata.service]\nport = 0\n"),
        )
        .package(PackageSpec::new("desk", "teller").bin("tellerd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"teller\"\nport = 0\ndepends-on = [\"safe\"]\n",
        ))
        .workspace(&format!(
            "[workspace.metadata.xtask]\ndefault = [\"teller\"]\n\
             [workspace.metadata.services.safe]\nimage = \"{image}\"\nport = 7070\n\
             env = {{ PORT = \"${{self.port}}\", COLOUR = \"red\", DOCKER_COLOUR = \"blue\" }}\n\
             volumes = {{ \"/var/lib/safe\" = \"${{stack.data}}/safe\" }}\n\
             ready = {{ tcp = true, log = \"listening\" }}\n"
        ))
        .stack("other")
}

#[test]
fn image_service_is_reachable_from_everywhere() {
    let image = format!("localhost/bank-vault:{}", std::process::id());
    let fixture = bank(&image).write();
    let Some(made) = Made::by(&fixture) else { return };
    let vault = fixture.xtask(&["image", "vault", "--json"]).ends_with(0).json();
    made.ask(&["tag", vault[0]["image"].as_str().unwrap(), &image]);

    // On an isolated stack the number outside is any, and inside it is the image's own.
    for containers in [None, Some("--containers")] {
        let args = ["up", "-d", "--ports", "auto"].into_iter().chain(containers);
        fixture.xtask(&args.collect::<Vec<_>>()).ends_with(0);
        let safe = fixture.service("safe");
        assert_eq!((&safe["placement"], &safe["phase"]), (&"container".into(), &"ready".into()));
        assert_eq!(ask(&fixture, "safe", "/env/COLOUR"), "red");
        assert_eq!(ask(&fixture, "safe", "/env/DOCKER_COLOUR"), "blue");
        assert_eq!(ask(&fixture, "safe", "/env/PORT"), "7070");
        let url = ask(&fixture, "teller", "/env/SAFE_URL");
        let expected = match containers {
            None => safe["url"].as_str().unwrap().to_owned(),
            Some(_) => "http://safe:7070".to_owned(),
        };
        assert_eq!(url, expected);
        let path = format!("/call/{}/env/COLOUR", url.trim_start_matches("http://"));
        assert_eq!(ask(&fixture, "teller", &path), "red");
    }
    let id = made.all("container");
    let mounts = made.ask(&["inspect", "--format", "{{json .Mounts}}", &id.join("")[..64]]);
    let mounts = mounts + &made.ask(&["inspect", "--format", "{{json .Mounts}}", &id[1]]);
    assert!(mounts.contains("/var/lib/safe"), "{mounts}");
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(made.all("container"), Vec::<String>::new());
}

#[test]
fn missing_image_is_named() {
    let fixture = bank("localhost/no-such-image:1").write();
    let Some(_made) = Made::by(&fixture) else { return };
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    assert!(up.stderr.contains("no-such-image"), "{up}");
}
