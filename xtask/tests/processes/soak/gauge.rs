//! What a process costs while something happens to it: looked at five times a second, from
//! a thread of its own, so that no look depends on what the test is just waiting for.
//!
//! Growth is the difference between two long windows. A single sample proves nothing, because an
//! allocator returns memory at any time. A short peak between two samples is seen too: the kernel
//! keeps the highest size, and each sample resets it.

use std::fmt::Write as _;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(200);

/// The size of the supervisor at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    /// Memory that no other process shares.
    pub(super) private_kib: u64,
    /// The most that was resident since the last look, what is shared included.
    pub(super) peak_kib: u64,
    pub(super) descriptors: usize,
    /// What was being done.
    pub(super) during: String,
}

/// Looks at a process until it is asked what it saw.
pub(super) struct Gauge {
    during: Arc<Mutex<String>>,
    _over: Sender<()>,
    looking: JoinHandle<Vec<Sample>>,
}

impl Gauge {
    pub(super) fn start(pid: i32) -> Self {
        let during = Arc::new(Mutex::new(String::new()));
        let (over, wait) = channel();
        let seen = during.clone();
        let looking = std::thread::spawn(move || look(pid, &seen, &wait));
        Self { during, _over: over, looking }
    }

    /// Says what is being done from now on.
    pub(super) fn during(&self, what: String) {
        *self.during.lock().unwrap() = what;
    }

    pub(super) fn end(self) -> Samples {
        drop(self._over);
        Samples(self.looking.join().unwrap())
    }
}

fn look(pid: i32, during: &Mutex<String>, over: &Receiver<()>) -> Vec<Sample> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    forget_the_peak(pid);
    while over.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        let during = during.lock().unwrap().clone();
        samples.push(sample(pid, begun.elapsed(), during));
        forget_the_peak(pid);
    }
    samples
}

fn sample(pid: i32, at: Duration, during: String) -> Sample {
    Sample {
        at,
        private_kib: kib(pid, "smaps_rollup", "Private_Dirty:"),
        peak_kib: kib(pid, "status", "VmHWM:"),
        descriptors: descriptors(pid),
        during,
    }
}

/// How many descriptors a process has open.
pub(super) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn kib(pid: i32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// `proc_pid_clear_refs(5)`: 5 sets the highest resident size to the present one.
fn forget_the_peak(pid: i32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Everything that a gauge has seen, in order.
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    /// The medians of private memory in the second and in the last quarter, in KiB. The
    /// first quarter is there to warm up.
    pub(super) fn early_and_late_kib(&self) -> (u64, u64) {
        let quarter = self.0.len() / 4;
        assert!(quarter > 0, "{} looks", self.0.len());
        (median(&self.0[quarter..2 * quarter]), median(&self.0[self.0.len() - quarter..]))
    }

    /// The look before which the most was resident.
    pub(super) fn peak(&self) -> &Sample {
        self.0.iter().max_by_key(|sample| sample.peak_kib).unwrap()
    }

    /// A line a minute.
    pub(super) fn table(&self) -> String {
        let mut table =
            String::from("minute  private KiB: median  highest  peak KiB  descriptors\n");
        for minute in self.0.chunk_by(|one, next| minute(one) == minute(next)) {
            let highest = minute.iter().map(|sample| sample.private_kib).max().unwrap();
            let peak = minute.iter().max_by_key(|sample| sample.peak_kib).unwrap();
            let descriptors = minute.iter().map(|sample| sample.descriptors);
            let (fewest, most) = (descriptors.clone().min().unwrap(), descriptors.max().unwrap());
            writeln!(
                table,
                "{:>6}  {:>19}  {highest:>7}  {:>8}  {fewest} to {most} (peak: {})",
                self::minute(peak),
                median(minute),
                peak.peak_kib,
                peak.during,
            )
            .unwrap();
        }
        table
    }
}

fn minute(sample: &Sample) -> u64 {
    sample.at.as_secs() / 60
}

fn median(samples: &[Sample]) -> u64 {
    let mut values: Vec<_> = samples.iter().map(|sample| sample.private_kib).collect();
    values.sort_unstable();
    values[values.len() / 2]
}
