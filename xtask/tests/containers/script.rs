//! Scripts in place of the engine: one answers as an engine and creates nothing, the other forwards
//! to the engine of this machine. Both record their arguments.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use xtask_test_support::{Fixture, Running, eventually};

/// A command named in a file `hold-COMMAND` does not end while that file is there; one in
/// `fail-COMMAND` fails with the text in that file. An image is here once it was pulled, and a
/// container is a process that sleeps. Nothing is removed while a `create` runs.
const PRETENDER: &str = r#"#!/bin/sh
folder=$(dirname "$0")
[ "$1" = create ] && cat > "$folder/input"
echo "$*" >> "$folder/told"
last() { for word; do :; done; echo "$word"; }
turns=3000
[ "$1" = create ] && echo $$ > "$folder/creating"
while [ -e "$folder/hold-$1" ] && [ $turns -gt 0 ]; do sleep 0.02; turns=$((turns - 1)); done
[ -e "$folder/fail-$1" ] && { echo "Error response from daemon: $(cat "$folder/fail-$1")" >&2; exit 1; }
case "$1 $2" in
"image inspect") [ -e "$folder/pulled" ] ;;
"pull "*) : > "$folder/pulled" ;;
"network inspect") echo 127.0.0.0/8,127.0.0.1 ;;
"container inspect") pid=$(cat "$folder/$(last "$@")") && echo "running $pid 127.0.0.1" ;;
"start "*) echo $$ > "$folder/$(last "$@")"; exec sleep 60 ;;
"kill "*) kill -s "${3#SIG}" "$(cat "$folder/$(last "$@")")" ;;
"rm "*) while kill -0 "$(cat "$folder/creating")"; do sleep 0.02; done
    pid=$(cat "$folder/$(last "$@")") && kill -KILL "$pid" ;;
esac
"#;

/// A script that is the engine of some runs of the tool.
pub(crate) struct Script {
    folder: PathBuf,
    program: PathBuf,
}

impl Script {
    /// One that makes nothing.
    pub(crate) fn pretending(fixture: &Fixture) -> Self {
        Self::write(fixture, "docker", PRETENDER)
    }

    /// One that hands everything on to the engine at `path`.
    pub(crate) fn before(fixture: &Fixture, path: &Path) -> Self {
        let name = path.file_name().unwrap().to_str().unwrap();
        let engine = path.display();
        let text = format!(
            "#!/bin/sh\necho \"$*\" >> \"$(dirname \"$0\")/told\"\nexec '{engine}' \"$@\"\n"
        );
        Self::write(fixture, name, &text)
    }

    /// As [`Script::pretending`], and it is Podman under the name of Docker.
    pub(crate) fn pretending_podman(fixture: &Fixture) -> Self {
        let version = "\ncase \"$1\" in --version) echo podman version 4.3.1; exit ;; esac\n";
        let note = "echo 'Emulate Docker CLI using podman. Create /etc/containers/nodocker' >&2";
        let text = PRETENDER.replacen('\n', &format!("\n{note}{version}"), 1);
        Self::write(fixture, "docker", &text)
    }

    fn write(fixture: &Fixture, name: &str, text: &str) -> Self {
        let folder = fixture.out().join("engine");
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join(name);
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, program }
    }

    /// Starts the tool with this engine.
    pub(crate) fn spawn(&self, fixture: &Fixture, args: &[&str]) -> Running {
        self.spawn_with(fixture, args, |_| {})
    }

    /// As [`Script::spawn`], with another change to the command.
    pub(crate) fn spawn_with(
        &self,
        fixture: &Fixture,
        args: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Running {
        fixture.spawn_with(args, |command| {
            command.env("XTASK_ENGINE", &self.program);
            change(command);
        })
    }

    /// Lets a command hang, or continue.
    pub(crate) fn hold(&self, command: &str, held: bool) {
        self.mark(&format!("hold-{command}"), held);
    }

    /// Lets a command fail, or not.
    pub(crate) fn fail(&self, command: &str, fails: bool) {
        self.mark(&format!("fail-{command}"), fails);
        if fails {
            self.fail_with(command, &format!("{command} is refused"));
        }
    }

    /// Lets a command fail with this message.
    pub(crate) fn fail_with(&self, command: &str, message: &str) {
        fs::write(self.folder.join(format!("fail-{command}")), message).unwrap();
    }

    fn mark(&self, name: &str, there: bool) {
        let path = self.folder.join(name);
        if there { fs::write(path, "").unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// The command lines that begin with this word, in order.
    pub(crate) fn told(&self, command: &str) -> Vec<String> {
        let told = fs::read_to_string(self.folder.join("told")).unwrap_or_default();
        let lines = told.lines().filter(|line| line.split(' ').next() == Some(command));
        lines.map(str::to_owned).collect()
    }

    /// The standard input of the last `create`.
    pub(crate) fn input(&self) -> String {
        fs::read_to_string(self.folder.join("input")).unwrap()
    }

    /// Waits until the script received this command.
    #[track_caller]
    pub(crate) fn until_told(&self, command: &str) {
        eventually(Duration::from_secs(60), &format!("`{command}` told to the engine"), || {
            (!self.told(command).is_empty()).then_some(())
        });
    }
}
