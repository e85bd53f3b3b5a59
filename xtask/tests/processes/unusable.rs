//! Programs that the system refuses: each has a cause and an edit, in `check` and in `up`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use xtask_test_support::{Fixture, PackageSpec};

fn fixture(name: &str, services: &str) -> Fixture {
    Fixture::new(name).package(PackageSpec::new("m", "m").lib("")).workspace(services).write()
}

#[test]
fn refused_programs_name_cause_and_edit() {
    let services = ["mode", "crlf", "plain", "interpreter"];
    let toml = services.map(|name| {
        format!("[workspace.metadata.services.{name}]\ncommand = [\"./{name}\", \"x\"]\n")
    });
    let fixture = fixture("refused", &toml.concat());
    for (name, mode, text) in [
        ("mode", 0o644, "#!/bin/sh\n"),
        ("crlf", 0o755, "#!/bin/sh\r\nsleep 600\r\n"),
        ("plain", 0o755, "sleep 600\n"),
        ("interpreter", 0o755, "#!/no/such/shell\n"),
    ] {
        fixture.file(name, text);
        fs::set_permissions(fixture.root().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let check = fixture.xtask(&["check"]).ends_with(2);
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    for ran in [&check, &up] {
        for text in [
            "its mode 644 does not allow your user to execute it",
            "chmod +x",
            "ends with CR LF",
            "sed -i",
            "its first line names no interpreter",
            "add the line `#!/bin/sh`",
            "the interpreter `/no/such/shell`, which does not exist",
        ] {
            assert!(ran.stderr.contains(text), "no `{text}` in\n{ran}");
        }
    }
    assert!(!up.stderr.contains("shows all its output"), "no program ran\n{up}");
}

#[test]
fn words_in_one_text_propose_a_list() {
    let toml = "[workspace.metadata.services.words]\ncommand = [\"sleep 600\"]\n\
                [workspace.metadata.services.shell]\ncommand = [\"sleep 600 | cat\"]\n";
    let fixture = fixture("words", toml);
    for (args, code) in [(&["check"][..], 2), (&["up", "-d"], 4)] {
        fixture
            .xtask(args)
            .ends_with(code)
            .says("write `command = [\"sleep\", \"600\"]`")
            .says("write `command = [\"sh\", \"-c\", \"sleep 600 | cat\"]`");
    }
}

#[test]
fn too_long_variables_and_arguments_are_named() {
    let toml = "[workspace.metadata.services.big]\ncommand = [\"sleep\", \"600\"]\n\
                env-file = \"the.env\"\n";
    let fixture = fixture("big", toml);
    fixture.file("the.env", &format!("SMALL=1\nBIG={}\n", "x".repeat(200_000)));
    for args in [&["check"][..], &["up", "-d"]] {
        let ran = fixture.xtask(args).ends_with(2);
        let ran = ran.says("variable `BIG` at `the.env:2` has 200005 bytes").says("at most 131072");
        assert!(!ran.stderr.contains("xxxx"), "no value is shown\n{ran}");
    }
}

#[test]
fn too_long_sum_names_the_longest_variable() {
    const STACK: libc::rlim_t = 2 * 1024 * 1024;
    let lines = (0..6).map(|n| format!("V{n} = \"{}\"\n", "x".repeat(100_000 + n)));
    let toml = "[workspace.metadata.services.sum]\ncommand = [\"sleep\", \"600\"]\n\
                [workspace.metadata.services.sum.env]\n";
    let fixture = fixture("sum", &format!("{toml}{}", lines.collect::<String>()));
    let up = fixture.spawn_with(&["up", "-d"], |command| {
        let limit = libc::rlimit { rlim_cur: STACK, rlim_max: STACK };
        // SAFETY: the call is safe between fork and exec, and its pointer is to a local.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_STACK, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    });
    let ran = up.wait(Duration::from_secs(60)).ends_with(4);
    ran.says("at most 524288; the longest is variable `V5` with 100009 bytes");
}
