//! The output of runs, from pipe to file.

use super::*;

#[test]
fn flood_on_both_streams_loses_no_line() {
    with_world(async |mut fixture| {
        let script = "yes $(printf 'x%.0s' $(seq 80)) | head -n 150000 | cat -n & \
                      yes error | head -n 50000 >&2 & wait";
        let (exit, lines) = fixture.run(shell(script)).await;
        assert_eq!(exit, Exit::Code(0));
        let (errors, out): (Vec<_>, Vec<_>) = lines.iter().partition(|line| *line == "error");
        assert_eq!(errors.len(), 50_000);
        assert_eq!(out.len(), 150_000);
        for (number, line) in (1..).zip(out) {
            assert!(line.trim_start().starts_with(&format!("{number}\t")), "{number}: {line}");
        }
    });
}

#[test]
fn crash_keeps_incomplete_last_lines() {
    with_world(async |mut fixture| {
        let script = "printf 'he'; sleep 0.02; printf 'llo\\nhalf' ; kill -9 $$";
        let (exit, lines) = fixture.run(shell(script)).await;
        assert_eq!(exit, Exit::Signal(9));
        assert_eq!(lines, ["hello", "half"]);
    });
}

#[test]
fn runs_share_one_log_with_their_numbers() {
    with_world(async |mut fixture| {
        fixture.spawn(1, shell("echo one"), Vec::new());
        fixture.until_gone().await;
        fixture.spawn(2, shell("echo two >&2"), Vec::new());
        fixture.until_gone().await;
        let log = fixture.folder.path().join("state/logs/a.log");
        let log = std::fs::read_to_string(log).unwrap();
        let records: Vec<&str> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(records, ["1 o one", "2 e two"]);
    });
}
