//! What services print, on its hard ways: stuck readers, endless and half lines, bytes
//! that are no text, restarts, full disks.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use xtask_test_support::stand::{pid, stand};
use xtask_test_support::{Fixture, Ran, eventually};

const SOON: Duration = Duration::from_secs(60);

/// What the supervisor or a client may have held in memory at any time. It is a fraction
/// of what is printed in these tests.
const BOUND_KIB: u64 = 40 * 1024;

#[track_caller]
fn highest_memory_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn supervisor(fixture: &Fixture) -> i32 {
    i32::try_from(fixture.status()["supervisor_pid"].as_i64().unwrap()).unwrap()
}

/// Starts the tool with a pipe for standard output that has no reader.
fn stuck(fixture: &Fixture, args: &[&str]) -> Child {
    let mut command = fixture.command();
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// `logs --raw` as bytes.
fn raw(fixture: &Fixture, service: &str) -> Vec<u8> {
    let output = fixture.command().args(["logs", "--raw", "-n", "1000000", service]).output();
    output.unwrap().stdout
}

fn json_lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where the stack will keep its logs.
fn logs_folder(fixture: &Fixture) -> PathBuf {
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
    PathBuf::from(plan["data"].as_str().unwrap()).parent().unwrap().join("logs")
}

#[test]
fn logs_exceed_the_soft_descriptor_limit() {
    let fixture = stand(&[("idle", "", "")]).write();
    let folder = logs_folder(&fixture);
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..40 {
        let line = "2026-01-31T08:00:00.000Z 1 o hello\n";
        std::fs::write(folder.join(format!("s{number}.log")), line).unwrap();
    }
    let running = fixture.spawn_with(&["logs"], |command| {
        // SAFETY: between fork and exec two system calls are made.
        unsafe {
            command.pre_exec(|| {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
                limit.rlim_cur = 32;
                match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
    });
    let ran = running.wait(SOON).ends_with(0);
    assert_eq!(ran.stdout.lines().count(), 40, "{ran}");
}

#[test]
fn stuck_readers_block_no_service_and_miss_nothing() {
    // More than one file of a log holds.
    const LINES: usize = 300_000;
    let flood = format!("--boot 300 --flood {LINES} --line-bytes 100");
    let fixture = stand(&[("flood", &flood, "")]).write();
    let mut up = stuck(&fixture, &["up"]);
    eventually(SOON, "a stack", || (fixture.xtask(&["status"]).code == Some(0)).then_some(()));
    let mut follow = stuck(&fixture, &["logs", "-f", "-n", "1000000", "flood"]);
    eventually(SOON, "the last line in the file", || {
        let last = fixture.xtask(&["logs", "flood", "-n", "1"]).stdout;
        last.contains(&format!("flood {LINES} of")).then_some(())
    });
    let supervisor = supervisor(&fixture);
    for pid in [supervisor, up.id().cast_signed(), follow.id().cast_signed()] {
        let kib = highest_memory_kib(pid);
        assert!(kib < BOUND_KIB, "process {pid} has held {kib} KiB");
    }

    let lines = raw(&fixture, "flood").lines().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(lines.len(), LINES, "nothing is lost in the file");
    for (number, line) in (1..).zip(&lines) {
        assert!(line.starts_with(&format!("flood {number} of ")), "{number}: {line}");
    }

    let reader = BufReader::new(follow.stdout.take().unwrap());
    for (number, line) in (1..=LINES).zip(reader.lines()) {
        let line = line.unwrap();
        assert!(line.contains(&format!("flood {number} of ")), "{number}: {line}");
    }
    follow.kill().unwrap();
    follow.wait().unwrap();

    // SAFETY: the call takes two numbers, and the child is not waited for yet.
    assert_eq!(unsafe { libc::kill(up.id().cast_signed(), libc::SIGINT) }, 0);
    let code = eventually(SOON, "the end of an `up` without a reader", || {
        up.try_wait().unwrap().map(|status| status.code())
    });
    assert_eq!(code, Some(130));
    fixture.is_quiet();
}

#[test]
fn ten_megabyte_line_is_kept_in_bounded_memory() {
    let fixture = stand(&[("long", "--long-line 10000000 --ready-line over", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let printed = eventually(SOON, "the whole line", || {
        Some(raw(&fixture, "long")).filter(|printed| printed.len() > 10_000_000)
    });
    let line = printed.split(|&byte| byte == b'\n').max_by_key(|line| line.len()).unwrap();
    assert_eq!(line.len(), 10_000_000);
    assert!(line.chunks(5).all(|part| part == b"long "));
    assert!(highest_memory_kib(supervisor(&fixture)) < BOUND_KIB);
    // It is one line to every reader.
    for args in [&["-n", "2"][..], &["--grep", "^(long )+$"], &["--grep", "^long l"]] {
        let shown = fixture.xtask(&[&["logs", "long"], args].concat()).ends_with(0).stdout;
        let longest = shown.lines().map(str::len).max();
        assert_eq!(longest, Some("long | ".len() + 10_000_000), "{args:?}");
    }
    let json = json_lines(&fixture.xtask(&["logs", "--json", "--grep", "^long l"]).ends_with(0));
    assert_eq!(json.len(), 1);
    assert_eq!(json[0]["text"].as_str().map(str::len), Some(10_000_000));
    assert!(json[0]["open"].is_null() && json[0]["continues"].is_null());
}

#[test]
fn binary_output_is_kept_and_shown_safely() {
    let fixture = stand(&[("junk", "--junk", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let printed = eventually(SOON, "the line", || {
        Some(raw(&fixture, "junk")).filter(|printed| printed.ends_with(b"\n"))
    });
    assert_eq!(printed, b"a\0b \xff\xfe \x1b[31mred\x1b[0m \x1b[2J\x1b]0;t\x07end\n");
    let shown = fixture.xtask(&["logs"]).ends_with(0).stdout;
    assert_eq!(shown, "junk | ab \u{fffd}\u{fffd} red end\n");
    let colours = fixture.xtask(&["logs", "--color", "always"]).ends_with(0).stdout;
    assert!(colours.contains("\x1b[31mred") && !colours.contains("\x1b[2J"), "{colours:?}");
    let json = &json_lines(&fixture.xtask(&["logs", "--json"]))[0];
    assert_eq!(json["text"], "a\0b \u{fffd}\u{fffd} \x1b[31mred\x1b[0m \x1b[2J\x1b]0;t\x07end");
}

#[test]
fn partial_lines_do_not_mix_and_are_marked() {
    let ends = "restart = \"no\"\n";
    let fixture = stand(&[
        ("torn", "--torn", ""),
        ("unfinished", "--half-line --exit-after 0", ends),
        ("json", "--ready-line {\"level\":\"info\",\"n\":1.0}", ""),
    ])
    .write();
    let up = fixture.spawn(&["up"]);
    eventually(SOON, "whole lines", || {
        let torn = fixture.xtask(&["logs", "torn"]).stdout;
        let lines = ["out one out two out three\n", "err one err two err three\n"];
        lines.iter().all(|line| torn.contains(line)).then_some(())
    });
    up.says(SOON, "half a line…");
    up.says(SOON, "json       | {\"level\":\"info\",\"n\":1.0}\n");
    let said = up.said();
    let log = said.stdout.lines().filter(|line| line.contains(" | "));
    for line in log {
        let name = line.split(" | ").next().unwrap();
        assert!(["torn      ", "unfinished", "json      "].contains(&name), "{said}");
    }
    assert_eq!(raw(&fixture, "json"), b"{\"level\":\"info\",\"n\":1.0}\n");
    let unfinished = json_lines(&fixture.xtask(&["logs", "--json", "unfinished"]));
    assert_eq!(
        (&unfinished[0]["text"], &unfinished[0]["open"]),
        (&"half a line".into(), &true.into())
    );
    up.signal(libc::SIGINT);
    up.wait(SOON).ends_with(130);
}

#[test]
fn incomplete_line_is_shown_and_matches_a_probe() {
    let fixture =
        stand(&[("prompt", "--half-line", "ready = { log = \"^half a line$\" }")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let follow = fixture.spawn(&["logs", "-f"]);
    follow.says(SOON, "prompt | half a line…\n");
    let json = json_lines(&fixture.xtask(&["logs", "--json", "--grep", "half"]).ends_with(0));
    assert_eq!((&json[0]["text"], &json[0]["open"]), (&"half a line".into(), &true.into()));
    assert_eq!(raw(&fixture, "prompt"), b"half a line");
    follow.signal(libc::SIGINT);
}

#[test]
fn moved_or_truncated_log_continues() {
    let fixture = stand(&[("clock", "--tick 2", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let follow = fixture.spawn(&["logs", "-f", "--json", "-n", "100000"]);
    let log = logs_folder(&fixture).join("clock.log");
    let ticks = || -> Vec<u64> {
        let own = |line: &Value| line["text"].as_str()?.strip_prefix("tick ")?.parse().ok();
        let said = follow.said();
        let whole = said.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
        whole.filter_map(|line: Value| own(&line)).collect()
    };
    let more =
        |than: usize| eventually(SOON, "ticks", || (ticks().len() > than + 50).then_some(()));
    more(0);
    for round in 0..3 {
        std::fs::rename(&log, log.with_extension(format!("moved-{round}"))).unwrap();
        more(ticks().len());
    }
    let shown = ticks();
    assert!(shown.iter().copied().eq(1..=shown.len() as u64), "each tick once: {shown:?}");
    for _ in 0..3 {
        std::fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
        more(ticks().len());
    }
    let shown = ticks();
    assert!(shown.is_sorted_by(|before, after| before < after), "no tick twice: {shown:?}");
    follow.signal(libc::SIGINT);
}

#[test]
fn filters_without_a_line_report_it() {
    let fixture = stand(&[("one", "--ready-line hello", "ready = { log = \"hello\" }")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let none = fixture.xtask(&["logs", "--grep", "good.bye"]).ends_with(0);
    assert_eq!((&*none.stdout, &*none.stderr), ("", "no line of stack `dev` matches `good.bye`\n"));
    let none = fixture.xtask(&["logs", "one", "--json", "--since", "2999-01-01T00:00:00Z"]);
    assert_eq!(
        none.ends_with(0).stderr,
        "no line of `one` is from 2999-01-01T00:00:00.000Z or later\n"
    );
    assert_eq!(fixture.xtask(&["logs", "--grep", "hello"]).ends_with(0).stderr, "");
}

#[test]
fn time_and_pattern_filters_span_restarts() {
    let greets = "ready = { log = \"hello\" }\n";
    let fixture = stand(&[
        ("one", "--ready-line hello:one", greets),
        ("two", "--ready-line hello:two", greets),
    ])
    .write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["restart", "one"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);

    let all = json_lines(&fixture.xtask(&["logs", "--json", "--since", "1h"]).ends_with(0));
    let of = |name: &str| {
        let own = all.iter().filter(|line| line["service"] == name);
        own.map(|line| line["run"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((of("one"), of("two")), (vec![1, 2, 1], vec![1, 1]));
    assert!(all.iter().all(|line| line["stream"] == "stdout"), "{all:#?}");
    let times: Vec<&str> = all.iter().map(|line| line["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");

    let later = fixture.xtask(&["logs", "--json", "--since", times[2]]).ends_with(0);
    assert_eq!(json_lines(&later), all[2..]);
    assert_eq!(fixture.xtask(&["logs", "--since", "2999-01-01T00:00:00Z"]).ends_with(0).stdout, "");
    let found = fixture.xtask(&["logs", "--grep", "o:one$"]).ends_with(0).stdout;
    assert_eq!(found, "one | hello:one\n".repeat(3));
    let last = fixture.xtask(&["logs", "--grep", "hello", "-n", "1"]).ends_with(0).stdout;
    assert_eq!(last.lines().count(), 2, "one of each service\n{last}");
    fixture.xtask(&["logs", "--grep", "("]).ends_with(2).says("--grep");
    fixture.xtask(&["logs", "--since", "soon"]).ends_with(2).says("`5m`");
}

#[test]
fn full_disk_is_reported_once_and_logged() {
    let fixture = stand(&[("clock", "--tick 2", "")]).write();
    let logs = logs_folder(&fixture);
    std::fs::create_dir_all(&logs).unwrap();
    let tool = fixture.command();
    let mount = "mount -t tmpfs -o size=256k tmpfs \"$0\"";
    let mut probe = std::process::Command::new("unshare");
    probe.args(["-m", "sh", "-c", mount]).arg(&logs).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        xtask_client::harness::skipped("the right to mount");
        return;
    }
    let up = fixture.spawn_with(&[], |command| {
        let mut inside = std::process::Command::new("unshare");
        inside.args(["-m", "sh", "-c", &format!("{mount} && exec \"$1\" up")]);
        inside.arg(&logs).arg(tool.get_program()).current_dir(fixture.root()).env_clear();
        inside.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
        *command = inside;
    });
    up.says(SOON, "tick 3");
    let run = pid(&fixture, "clock");
    let inside = PathBuf::from(format!("/proc/{}/root", supervisor(&fixture)))
        .join(logs.strip_prefix("/").unwrap());
    let filler = inside.join("filler");
    let _ = std::fs::write(&filler, vec![0; 1024 * 1024]);
    up.says(SOON, "lines from the log of clock: No space left on device");
    let status = fixture.xtask(&["status"]).ends_with(0).says("lines are missing from its log");
    assert!(status.stdout.contains("ready"), "{status}");
    std::fs::remove_file(filler).unwrap();
    up.says(SOON, "missing here: No space left on device");
    eventually(SOON, "no trouble any more", || {
        fixture.service("clock")["log_trouble"].is_null().then_some(())
    });
    assert_eq!(pid(&fixture, "clock"), run, "it has noticed nothing");

    let text = std::fs::read_to_string(inside.join("clock.log")).unwrap();
    let mut expected = 1;
    for line in text.lines() {
        let text = line.splitn(4, ' ').nth(3).unwrap();
        match text.strip_prefix("tick ") {
            Some(tick) => {
                assert_eq!(tick.parse::<u64>().unwrap(), expected);
                expected += 1;
            }
            None => {
                let (missing, _) = text.split_once(" line").unwrap();
                expected += missing.parse::<u64>().unwrap();
            }
        }
    }
    let said = up.said();
    assert_eq!(said.stderr.matches("Dropping").count(), 1, "{said}");
    up.signal(libc::SIGINT);
    up.wait(SOON).ends_with(130);
}

#[test]
fn file_size_limit_loses_no_line() {
    const LIMIT: libc::rlim_t = 256 * 1024;
    let fixture = stand(&[("flood", "--flood 10000", "")]).write();
    let up = fixture.spawn_with(&["up", "-d"], |command| {
        let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
        // SAFETY: the call is safe between fork and exec, and its pointer is to a local.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    });
    up.wait(SOON).ends_with(0);
    eventually(SOON, "all lines", || {
        let lines = fixture.xtask(&["logs", "flood", "-n", "20000"]).stdout.lines().count();
        (lines == 10_000).then_some(())
    });
    assert!(fixture.service("flood")["log_trouble"].is_null());
    assert!(std::fs::metadata(logs_folder(&fixture).join("flood.log")).unwrap().len() <= LIMIT);
}

#[test]
fn log_size_follows_the_metadata() {
    let limits = "log = { size = \"64K\", files = 2 }";
    let fixture = stand(&[("flood", "--flood 20000 --line-bytes 100", limits)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    eventually(SOON, "the last line", || {
        let last = fixture.xtask(&["logs", "flood", "-n", "1"]).stdout;
        last.contains("flood 20000 of").then_some(())
    });
    let kept = files_of(&fixture, "flood");
    assert_eq!(kept.len(), 3, "{kept:?}");
}

/// The names of a service's log files, rotated files included.
fn files_of(fixture: &Fixture, service: &str) -> Vec<String> {
    let names = std::fs::read_dir(logs_folder(fixture)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&format!("{service}.log"))).collect()
}

#[test]
fn time_and_pattern_filters_search_rotated_files() {
    const LINES: usize = 6000;
    let limits = "log = { size = \"64K\", files = 20 }";
    let flood = format!("--flood {LINES} --line-bytes 100");
    let fixture = stand(&[("flood", &flood, limits)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    eventually(SOON, "the last line", || {
        let last = fixture.xtask(&["logs", "flood", "-n", "1"]).stdout;
        last.contains(&format!("flood {LINES} of")).then_some(())
    });
    let files = files_of(&fixture, "flood");
    assert!(files.len() > 3, "{files:?}");

    let all = json_lines(&fixture.xtask(&["logs", "--json", "-n", "100000"]).ends_with(0));
    assert_eq!(all.len(), LINES);
    // One in the oldest file, one in the middle, and one in the newest.
    let pattern = format!("^flood (7|{}|{LINES}) of", LINES / 2);
    let found = json_lines(&fixture.xtask(&["logs", "--json", "--grep", &pattern]).ends_with(0));
    assert_eq!(found, [all[6].clone(), all[LINES / 2 - 1].clone(), all[LINES - 1].clone()]);

    for place in [0, LINES / 3, LINES - 1] {
        let time = all[place]["time"].as_str().unwrap();
        let later: Vec<Value> =
            all.iter().filter(|line| line["time"].as_str().unwrap() >= time).cloned().collect();
        let shown = fixture.xtask(&["logs", "--json", "--since", time]).ends_with(0);
        assert_eq!(json_lines(&shown), later, "since {time}");
        let args = ["logs", "--json", "--since", time, "--grep", &pattern];
        let both = json_lines(&fixture.xtask(&args).ends_with(0));
        let wanted: Vec<Value> =
            found.iter().filter(|line| later.contains(line)).cloned().collect();
        assert_eq!(both, wanted, "since {time}");
    }
}

/// It neither ends with the supervisor nor shows a line twice or not at all.
#[test]
fn follower_continues_over_supervisor_restarts() {
    let limits = "log = { size = \"64K\", files = 50 }";
    let fixture = stand(&[("clock", "--tick 2", limits)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let follow = fixture.spawn(&["logs", "-f", "--json", "-n", "100000"]);
    for round in 1..=3 {
        let told = follow.said().stdout.lines().count();
        eventually(SOON, &format!("lines of round {round}"), || {
            (follow.said().stdout.lines().count() > told + 50).then_some(())
        });
        if round == 2 {
            // SAFETY: the call takes two numbers.
            unsafe { libc::kill(supervisor(&fixture), libc::SIGKILL) };
            eventually(SOON, "the end", || {
                let own = follow.pid();
                fixture.processes().iter().all(|process| process.pid == own).then_some(())
            });
        } else {
            fixture.xtask(&["down"]).ends_with(0);
        }
        if round < 3 {
            fixture.xtask(&["up", "-d"]).ends_with(0);
        }
    }
    let all = fixture.xtask(&["logs", "--json", "-n", "100000"]).ends_with(0).stdout;
    let firsts = json_lines(&fixture.xtask(&["logs", "--json", "--grep", "^tick 1$"]));
    assert_eq!(firsts.len(), 3, "one of each supervisor");
    eventually(SOON, "all lines, and none twice", || (follow.said().stdout == all).then_some(()));
}

#[test]
fn closed_output_ends_a_follower() {
    let fixture = stand(&[("clock", "--tick 5", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let mut follow = stuck(&fixture, &["logs", "-f"]);
    let mut some = [0; 16];
    follow.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let status = eventually(SOON, "its end", || follow.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn closed_output_ends_a_follower_of_silence() {
    let fixture = stand(&[("mute", "", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let mut follow = stuck(&fixture, &["logs", "-f", "-n", "0"]);
    drop(follow.stdout.take());
    let status = eventually(SOON, "its end", || follow.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
