//! Env-files: the dialect shared with `sh` and python-dotenv, and files that cannot be read.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use xtask_client::harness;
use xtask_test_support::{Fixture, PackageSpec};

/// Which other readers give the same value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Agrees {
    All,
    Sh,
    Dotenv,
    None,
}
use Agrees::{All, Dotenv, None, Sh};

/// Lines that set `K`, and its value.
const LINES: [(&str, &str, Agrees); 66] = [
    ("K=1", "1", All),
    ("K=", "", All),
    ("K= ", "", All),
    ("K=\t", "", All),
    ("K=abc", "abc", All),
    ("K=a.b-c_d", "a.b-c_d", All),
    ("K=/usr/bin:/bin", "/usr/bin:/bin", All),
    ("K=http://127.0.0.1:80/x?y=z", "http://127.0.0.1:80/x?y=z", All),
    ("K=a=b", "a=b", All),
    ("K==", "=", All),
    ("K=a#b", "a#b", All),
    ("K=#fff", "#fff", Sh),
    ("K=1 # note", "1", All),
    ("K=1\t# note", "1", All),
    ("K=1    # note # more", "1", All),
    ("K= # note", "", Sh),
    ("K=\t# note", "", Sh),
    ("K=   # note", "", Sh),
    ("  K=1", "1", All),
    ("\tK=1", "1", All),
    ("export K=1", "1", All),
    ("export   K=1", "1", All),
    ("export\tK=1", "1", All),
    ("  export K=1", "1", All),
    ("export K='a b'", "a b", All),
    ("K=''", "", All),
    ("K=\"\"", "", All),
    ("K='a'", "a", All),
    ("K=\"a\"", "a", All),
    ("K='a b'", "a b", All),
    ("K=\"a b\"", "a b", All),
    ("K=' a '", " a ", All),
    ("K=\" a \"", " a ", All),
    ("K='a # b'", "a # b", All),
    ("K=\"a # b\"", "a # b", All),
    ("K='a' # note", "a", All),
    ("K=\"a\" # note", "a", All),
    ("K='a'\t# note", "a", All),
    ("K='\"'", "\"", All),
    ("K=\"'\"", "'", All),
    ("K='say \"hi\"'", "say \"hi\"", All),
    ("K=\"it's\"", "it's", All),
    ("K=\"a\\\"b\"", "a\"b", All),
    ("K=\"a\\\\b\"", "a\\b", All),
    ("K='a\\nb'", "a\\nb", All),
    ("K=\"\\d\"", "\\d", All),
    ("K=\"\\x41\"", "\\x41", All),
    ("K=\"\\u00e9\"", "\\u00e9", All),
    ("K=\"\\0\"", "\\0", All),
    ("K=\"C:\\dir\"", "C:\\dir", All),
    ("K='one\ntwo'", "one\ntwo", All),
    ("K=\"one\ntwo\"", "one\ntwo", All),
    ("K=\"one\n\nthree\n\"", "one\n\nthree\n", All),
    (
        "K='-----BEGIN X-----\nabc+/==\n-----END X-----\n'",
        "-----BEGIN X-----\nabc+/==\n-----END X-----\n",
        All,
    ),
    ("K=\"one # no note\ntwo\" # note", "one # no note\ntwo", All),
    ("K='#'", "#", All),
    ("K='é'", "é", All),
    ("K=é", "é", All),
    ("K=\"\\$HOME\"", "$HOME", Sh),
    ("K=\"a\\nb\"", "a\nb", Dotenv),
    ("K=\"a\\tb\"", "a\tb", Dotenv),
    ("K = 1", "1", Dotenv),
    ("K=two words", "two words", Dotenv),
    ("K=a\\nb", "a\\nb", Dotenv),
    ("K=$HOME", "$HOME", Dotenv),
    ("K=\"`id`\"", "`id`", Dotenv),
];

/// A workspace of one service, which reads `the.env`.
fn fixture(name: &str) -> Fixture {
    Fixture::new(name)
        .package(PackageSpec::new("m", "m").lib(""))
        .workspace(
            "[workspace.metadata.services.reader]\ncommand = [\"sleep\", \"600\"]\n\
             env-file = \"the.env\"\n",
        )
        .write()
}

/// Each line with a variable of its own.
fn named() -> impl Iterator<Item = (String, String, &'static str, Agrees)> {
    LINES.iter().enumerate().map(|(index, (line, value, agrees))| {
        let name = format!("V{index:02}");
        (name.clone(), line.replacen('K', &name, 1), *value, *agrees)
    })
}

fn of(agrees: &[Agrees]) -> Vec<(String, String, &'static str)> {
    named().filter(|n| agrees.contains(&n.3)).map(|n| (n.0, n.1, n.2)).collect()
}

fn write(path: &Path, lines: &[(String, String, &'static str)]) {
    let text: String = lines.iter().map(|(_, line, _)| format!("{line}\n")).collect();
    fs::write(path, text).unwrap();
}

#[test]
fn env_file_dialect_agrees_with_sh_and_dotenv() {
    let fixture = fixture("dialect");
    let path = fixture.root().join("the.env");

    let all = of(&[All, Sh, Dotenv, None]);
    write(&path, &all);
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
    for (name, line, value) in &all {
        assert_eq!(plan["services"][0]["env"][name]["value"], *value, "the tool reads {line:?}");
    }

    let sh = of(&[All, Sh]);
    write(&path, &sh);
    let print: String = sh.iter().map(|(name, ..)| format!(" \"${name}\"")).collect();
    let mut command = Command::new("sh");
    command.args(["-c", &format!(". ./the.env; printf '%s\\0'{print}")]);
    let output = command.current_dir(fixture.root()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let read: Vec<&str> = text.split('\0').collect();
    for ((_, line, value), read) in sh.iter().zip(read) {
        assert_eq!(read, *value, "sh reads {line:?}");
    }

    let dotenv = of(&[All, Dotenv]);
    write(&path, &dotenv);
    let script = "import json, dotenv; \
                  print(json.dumps(dotenv.dotenv_values('the.env', interpolate=False)))";
    let read = ["python3", "/usr/bin/python3"].into_iter().find_map(|python| {
        let output =
            Command::new(python).args(["-c", script]).current_dir(fixture.root()).output().ok()?;
        output.status.success().then(|| serde_json::from_slice::<Value>(&output.stdout).unwrap())
    });
    let Some(read) = read else {
        harness::skipped("python-dotenv");
        return;
    };
    for (name, line, value) in &dotenv {
        assert_eq!(read[name], *value, "python-dotenv reads {line:?}");
    }
}

#[test]
fn unreadable_env_files_are_named() {
    let fixture = fixture("unreadable");
    let path = fixture.root().join("the.env");
    let check = |text: &str, hint: &str| {
        fixture.xtask(&["check"]).ends_with(2).says(text).says(hint);
    };
    check("failed to read `the.env`: no such file", "create `the.env`");
    let utf16: Vec<u8> = "\u{feff}A=1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, utf16).unwrap();
    check("it is UTF-16", "`iconv -f UTF-16 -t UTF-8 the.env`");
    fs::write(&path, b"A=caf\xe9\n").unwrap();
    check("it is not UTF-8", "`iconv -f ISO-8859-1 -t UTF-8 the.env`");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check("it is not a regular file", "name a text file in `env-file`");
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    check("it is not a regular file", "name a text file");
    fs::remove_file(&path).unwrap();
    let mut mkfifo = Command::new("mkfifo");
    assert!(mkfifo.arg(&path).process_group(0).status().unwrap().success());
    let running = fixture.spawn(&["check"]);
    running.wait(Duration::from_secs(60)).ends_with(2).says("it is not a regular file");
}

#[test]
fn stack_values_beat_fixed_values_and_the_shell() {
    let fixture = Fixture::new("beaten")
        .package(PackageSpec::new("m", "m").lib(""))
        .workspace(
            "[workspace.metadata.services.auth]\ncommand = [\"sleep\", \"600\"]\nport = 4700\n\
             [workspace.metadata.services.reader]\ncommand = [\"sleep\", \"600\"]\n\
             uses = [\"auth\"]\nenv-file = \"the.env\"\nenv = { PATH = \"/mine\", LEVEL = \"low\", \
             DATABASE_URL = \"sqlite:${stack.data}/a\", AUTH_BASE = \"${auth.url}/v1\" }\n",
        )
        .write();
    fixture.file("the.env", "AUTH_URL=http://127.0.0.1:1\nAUTH_TOKEN=t\n");
    let shell = [("DATABASE_URL", "sqlite:shared"), ("LEVEL", "high"), ("AUTH_URL", "http://x")];
    let env = |args: &[&str]| {
        let args = [&["up", "--dry-run", "--json", "reader"], args].concat();
        let running = fixture.spawn_with(&args, |command| {
            command.envs(shell);
        });
        let ran = running.wait(Duration::from_secs(60)).ends_with(0);
        let plan = ran.json();
        let services = plan["services"].as_array().unwrap();
        services.iter().find(|service| service["name"] == "reader").unwrap()["env"].clone()
    };
    let shown = env(&[]);
    assert_eq!(shown["AUTH_URL"]["value"], "http://127.0.0.1:4700");
    assert_eq!(shown["AUTH_BASE"]["value"], "http://127.0.0.1:4700/v1");
    assert_eq!(shown["PATH"]["value"], "/mine");
    assert_eq!(shown["LEVEL"]["value"], "high");
    let data = shown["DATABASE_URL"]["value"].as_str().unwrap();
    assert!(data.starts_with("sqlite:/") && data.ends_with("/a"), "{data}");
    assert_eq!(shown["AUTH_TOKEN"]["value"], "********");
    let flag = env(&["-e", "reader:AUTH_URL=http://127.0.0.1:2"]);
    assert_eq!(flag["AUTH_URL"]["value"], "http://127.0.0.1:2");
    fixture.xtask(&["check"]).says("`AUTH_URL` at `the.env:1` has no effect");
}

#[test]
fn later_env_file_wins_and_may_be_missing() {
    let fixture = fixture("several");
    fixture.edit("Cargo.toml", "\"the.env\"", "[\"the.env\", \"-local.env\"]");
    fixture.file("the.env", "FIRST=1\nBOTH=1\n");
    let value = |name: &str| {
        let plan = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
        plan["services"][0]["env"][name]["value"].clone()
    };
    assert_eq!((value("FIRST"), value("BOTH")), ("1".into(), "1".into()));
    fixture.file("local.env", "BOTH=2\n");
    assert_eq!((value("FIRST"), value("BOTH")), ("1".into(), "2".into()));
    fixture.edit("Cargo.toml", "\"-local.env\"", "\"other.env\"");
    let refused = fixture.xtask(&["check"]).ends_with(2);
    refused.says("failed to read `other.env`: no such file").says("write `\"-other.env\"`");
}
