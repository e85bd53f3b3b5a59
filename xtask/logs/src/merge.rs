//! Reads several logs as one, ordered by time.
//!
//! Each log is ordered by itself. A record that arrives late, with an earlier time, is shown when
//! it arrives: the merge waits for no log.

use std::io;
use std::sync::Arc;

use super::lines::{Joiner, Out};
use super::reader::Reader;
use super::record::Record;

/// Whether a line is passed on.
pub type Wanted = Arc<dyn Fn(&Record<'_>) -> bool + Send + Sync>;

/// Whether [`Merge::read`] stopped before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// There are more records: call it again.
    Yes,
    /// All logs were read to their current end.
    No,
}

/// The logs to merge.
#[derive(Default)]
pub struct Merge {
    logs: Vec<Log>,
    wanted: Option<Wanted>,
}

#[derive(Debug)]
struct Log {
    service: String,
    reader: Reader,
    joiner: Joiner,
    /// Whether the file may have more than the buffer.
    stale: bool,
}

impl Merge {
    /// Passes on only the lines that are wanted. An incomplete line is wanted once what has arrived
    /// of it is.
    pub fn only(wanted: Wanted) -> Self {
        Self { logs: Vec::new(), wanted: Some(wanted) }
    }

    /// Adds the log of a service.
    pub fn add(&mut self, service: &str, reader: Reader) {
        let (service, joiner) = (service.to_owned(), Joiner::default());
        self.logs.push(Log { service, reader, joiner, stale: true });
    }

    /// Whether it contains the log of that service.
    pub fn contains(&self, service: &str) -> bool {
        self.logs.iter().any(|log| log.service == service)
    }

    /// Reports that the log of that service has grown.
    pub fn grown(&mut self, service: &str) {
        for log in self.logs.iter_mut().filter(|log| log.service == service) {
            log.stale = true;
        }
    }

    /// Reports that any log may have grown.
    pub fn all_grown(&mut self) {
        self.logs.iter_mut().for_each(|log| log.stale = true);
    }

    /// Calls `take` for lines in the order in which they end, for about `bytes` bytes or to the
    /// current end. At the end incomplete lines are passed on too. What is added to them later
    /// continues them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(
        &mut self,
        bytes: usize,
        take: &mut dyn FnMut(&str, &Record<'_>),
    ) -> io::Result<More> {
        let mut left = bytes;
        let wanted = self.wanted.clone();
        let wanted = |line: &Record<'_>| wanted.as_ref().is_none_or(|wanted| wanted(line));
        loop {
            for log in self.logs.iter_mut().filter(|log| log.stale) {
                log.stale = log.reader.fill()?;
            }
            let Some((first, until)) = self.first() else {
                self.logs.sort_by(|a, b| a.joiner.time().cmp(&b.joiner.time()));
                for Log { service, joiner, .. } in &mut self.logs {
                    joiner
                        .flush(&mut Out { wanted: &wanted, take: &mut |line| take(service, line) });
                }
                return Ok(More::No);
            };
            let log = &mut self.logs[first];
            while let Some(record) = log.reader.record() {
                let line = Record::parse(record);
                if line.is_some_and(|line| until.as_deref().is_some_and(|until| line.time > until))
                {
                    break;
                }
                if left == 0 {
                    return Ok(More::Yes);
                }
                left = left.saturating_sub(record.len());
                let skipped = log.reader.skips();
                if let Some(line) = log.reader.record().and_then(Record::parse) {
                    let take = &mut |line: &Record<'_>| take(&log.service, line);
                    log.joiner.take(&line, skipped, &mut Out { wanted: &wanted, take });
                }
                log.reader.advance();
            }
        }
    }

    /// The log with the earliest record, and the time of the earliest record of the others.
    fn first(&self) -> Option<(usize, Option<String>)> {
        let time = |log: &Log| {
            let record = log.reader.record()?;
            Some(Record::parse(record).map_or("", |line| line.time).to_owned())
        };
        let mut times: Vec<(String, usize)> = (self.logs.iter().enumerate())
            .filter_map(|(index, log)| Some((time(log)?, index)))
            .collect();
        times.sort();
        let mut times = times.into_iter();
        let (_, first) = times.next()?;
        Some((first, times.next().map(|(time, _)| time)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::{Start, rotated_path};

    fn append(log: &Path, text: &str) {
        use std::io::Write;
        let mut file = fs::File::options().create(true).append(true).open(log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn turn(logs: &mut Merge, bytes: usize) -> (String, More) {
        let mut texts = String::new();
        let more = logs
            .read(bytes, &mut |service, line| {
                texts.push_str(&format!("{service}{} ", line.text_lossy()));
            })
            .unwrap();
        (texts, more)
    }

    fn all(logs: &mut Merge) -> String {
        logs.all_grown();
        let (texts, more) = turn(logs, usize::MAX);
        assert_eq!(more, More::No);
        texts
    }

    fn log(folder: &tempfile::TempDir, service: &str) -> PathBuf {
        folder.path().join(format!("{service}.log"))
    }

    fn merge(folder: &tempfile::TempDir, services: &[&str], start: &Start<'_>) -> Merge {
        let mut logs = Merge::default();
        for service in services {
            logs.add(service, Reader::new(&log(folder, service), start).unwrap());
        }
        logs
    }

    #[test]
    fn fixed_end_is_reached_while_the_log_grows() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder, "a");
        append(&rotated_path(&log, 1), "t1 1 o one\n");
        append(&log, "t2 1 o two\nt3 1 o half");
        let mut logs = Merge::default();
        logs.add("a", Reader::new(&log, &Start::Beginning).unwrap().until_now().unwrap());
        append(&log, " a line\n");
        fs::rename(&log, rotated_path(&log, 2)).unwrap();
        append(&log, "t4 1 o four\n");
        assert_eq!(all(&mut logs), "aone atwo ");
        append(&log, "t5 1 o five\n");
        assert_eq!(all(&mut logs), "");
    }

    #[test]
    fn records_of_several_services_are_ordered_by_time() {
        let folder = tempfile::tempdir().unwrap();
        append(&log(&folder, "a"), "t1 1 o 1\nt2 1 o 2\nt5 1 o 5\nt9 1 o hal");
        append(&log(&folder, "b"), "t2 1 e 2\nt3 1 e 3\nt4 0 x supervisor\nt6 1 e 6\n");
        let mut logs = merge(&folder, &["a", "b"], &Start::Beginning);
        assert_eq!(all(&mut logs), "a1 a2 b2 b3 a5 b6 ");
        append(&log(&folder, "a"), "f\nt9 1 o 9\n");
        append(&log(&folder, "b"), "t8 1 o 8\n");
        assert_eq!(all(&mut logs), "b8 ahalf a9 ");
    }

    #[test]
    fn read_stops_at_the_requested_size() {
        let folder = tempfile::tempdir().unwrap();
        append(&log(&folder, "a"), &"t1 1 o x\n".repeat(100));
        let mut logs = merge(&folder, &["a"], &Start::Beginning);
        let mut turns = 0;
        let mut seen = 0;
        loop {
            let (texts, more) = turn(&mut logs, 80);
            seen += texts.matches("ax").count();
            turns += 1;
            if more == More::No {
                break;
            }
        }
        assert_eq!(seen, 100);
        assert!(turns >= 10, "{turns} turns");
    }

    #[test]
    fn rotated_files_are_read_completely_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, "a");
        append(&rotated_path(&path, 9), "t1 1 o 1\n");
        append(&rotated_path(&path, 10), "t2 1 o 2\n");
        append(&path, "t3 1 o 3\n");
        let mut logs = merge(&folder, &["a"], &Start::Beginning);
        assert_eq!(all(&mut logs), "a1 a2 a3 ");
        for (number, rest) in (11..).zip(["4", "5", "6"]) {
            append(&path, &format!("t{rest} 1 o {rest}\n"));
            fs::rename(&path, rotated_path(&path, number)).unwrap();
        }
        assert_eq!(all(&mut logs), "a4 a5 a6 ");
        append(&path, "t7 1 o 7\n");
        assert_eq!(all(&mut logs), "a7 ");
    }

    #[test]
    fn deleted_records_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, "a");
        append(&path, "t1 1 o 1\n");
        let mut logs = merge(&folder, &["a"], &Start::Beginning);
        assert_eq!(all(&mut logs), "a1 ");
        append(&path, "t2 1 o 2\n");
        fs::remove_file(&path).unwrap();
        append(&rotated_path(&path, 7), "t4 1 o 4\n");
        append(&path, "t5 1 o 5\n");
        let texts = all(&mut logs);
        let (before, after) = texts.split_once("alines are missing here").unwrap();
        assert_eq!(before, "a2 ");
        assert!(after.ends_with(" a4 a5 "), "{texts}");
        append(&path, "t6 1 o 6\n");
        assert_eq!(all(&mut logs), "a6 ");
    }

    #[test]
    fn reading_starts_at_last_records_or_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, "a");
        append(&rotated_path(&path, 1), "t1 1 o 1\nt2 1 o 2\n");
        append(&rotated_path(&path, 2), "t3 1 o 3\n");
        append(&path, "t4 1 o 4\nt5 1 o 5\n");
        let begun = |start: &Start<'_>| all(&mut merge(&folder, &["a"], start));
        let odd = |line: &Record<'_>| [b"1", b"3", b"5"].iter().any(|text| line.text == *text);
        let last = |count, since| begun(&Start::Last { count, since, wanted: &odd });
        assert_eq!(last(1, None), "a5 ");
        assert_eq!(last(2, None), "a3 a4 a5 ");
        assert_eq!(last(9, None), "a1 a2 a3 a4 a5 ");
        assert_eq!(last(9, Some("t2")), "a2 a3 a4 a5 ");
        assert_eq!(last(0, None), "");
        assert!(begun(&Start::Since("t3")).ends_with("a3 a4 a5 "));
        assert_eq!(begun(&Start::Now), "");
    }

    #[test]
    fn reading_starts_at_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, "a");
        append(&rotated_path(&path, 1), "t1 1 o+ x\nt2 1 e 2\nt3 1 e+ never finished\n");
        append(&path, "t4 1 o-+ y\nt5 1 o- z\nt6 2 e 6\n");
        let last = |count, wanted: &'static str| {
            let wanted = move |line: &Record<'_>| line.text_lossy().contains(wanted);
            let start = Start::Last { count, since: None, wanted: &wanted };
            all(&mut merge(&folder, &["a"], &start))
        };
        assert_eq!(last(1, ""), "a6 ");
        assert_eq!(last(2, ""), "axyz a6 ");
        assert_eq!(last(1, "xyz"), "axyz a6 ");
        assert_eq!(last(9, ""), "a2 axyz anever finished a6 ");
    }

    #[test]
    fn only_wanted_lines_are_passed_on_from_their_begin() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, "a");
        let mut logs = Merge::only(Arc::new(|line| line.text_lossy().contains("one two")));
        logs.add("a", Reader::new(&path, &Start::Beginning).unwrap());
        append(&path, "t1 1 o other\nt1 1 o+ one\n");
        assert_eq!(all(&mut logs), "");
        append(&path, "t2 1 o-+  two\n");
        assert_eq!(all(&mut logs), "aone two ");
        append(&path, "t3 1 o-  three\nt3 1 o other\n");
        assert_eq!(all(&mut logs), "a three ");
    }

    #[test]
    fn reader_at_the_end_holds_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        append(&log(&folder, "a"), &format!("t1 1 o {}\n", "x".repeat(70_000)));
        let mut reader = Reader::new(&log(&folder, "a"), &Start::Beginning).unwrap();
        assert!(reader.fill().unwrap());
        reader.advance();
        assert!(!reader.fill().unwrap());
        assert_eq!(reader.held_bytes(), 0);
    }
}
