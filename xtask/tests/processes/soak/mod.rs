//! A stack that is not left in peace: killed, restarted, paused and rebuilt at random under
//! load. Its supervisor must neither grow nor tell an untruth.
//!
//! A normal run of the tests takes some seconds of it. `XTASK_SOAK=30m cargo test -p
//! cargo-services --test processes soak -- --nocapture` takes half an hour and prints what was
//! measured. `XTASK_SEED=N` repeats the same faults.

mod gauge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use xtask_client::snapshot::Phase;
use xtask_client::{Service, Stack, StackPaths};
use xtask_core::terms::chance::Chance;
use xtask_core::terms::duration;

use self::gauge::{Gauge, descriptors};
use xtask_test_support::stand::port;
use xtask_test_support::{Fixture, PackageSpec, SERVICE, alive, eventually, get};

const SERVICES: [&str; 3] = ["base", "mid", "top"];

/// Threads that ask each service, one request after the other.
const CALLERS: usize = 2;

/// What a supervisor may have grown by, in KiB: what the allocator keeps varies by as much.
const LEEWAY_KIB: u64 = 512;

/// The same for a soak that is shorter than [`WARM`], whose quarters are all a part of the
/// way to the size that it keeps.
const COLD_LEEWAY_KIB: u64 = 1024;

/// After this long a supervisor has its size.
const WARM: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Restart,
    Pause,
    Rebuild,
}

const FAULTS: [Fault; 4] = [Fault::Kill, Fault::Restart, Fault::Pause, Fault::Rebuild];

fn orchard() -> Fixture {
    let service = |name: &str, more: &str| {
        let source = format!("const EDITION: &str = \"edition 0\";\n{SERVICE}")
            .replace("println!(\"listening\")", "println!(\"listening {EDITION}\")");
        PackageSpec::new(name, name).bin(name, &source).metadata(&format!(
            "[package.metadata.service]\nport = 0\nsocket-activation = true\n{more}"
        ))
    };
    Fixture::new("orchard")
        .package(service("base", ""))
        .package(service("mid", "depends-on = [\"base\"]"))
        .package(service("top", "depends-on = [\"mid\"]"))
        .write()
}

#[test]
fn supervisor_stays_correct_and_small_under_load() {
    let variable = |name: &str| std::env::var(name).ok();
    let time = variable("XTASK_SOAK").map_or(Duration::from_secs(5), |text| {
        duration::parse(&text).unwrap_or_else(|why| panic!("`XTASK_SOAK={text}` {why}"))
    });
    let seed = variable("XTASK_SEED").map_or(1, |text| text.parse().unwrap());
    let fixture = orchard();
    fixture.xtask(&["up", "-d", "--ports", "auto"]).ends_with(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let load = Load::start(&fixture);
    let mut soak = Soak {
        fixture: &fixture,
        stack: stack(&fixture),
        chance: Chance::of(seed),
        runs: BTreeMap::new(),
        edition: 0,
        counts: BTreeMap::new(),
    };
    // Everything once, so that what is allocated once is there before the first look.
    for fault in FAULTS {
        runtime.block_on(soak.commit(fault));
    }
    let supervisor = i32::try_from(fixture.status()["supervisor_pid"].as_i64().unwrap()).unwrap();
    let before = descriptors_at_rest(supervisor);
    let gauge = Gauge::start(supervisor);
    let end = Instant::now() + time;
    while Instant::now() < end {
        let fault = *soak.chance.pick(&FAULTS).unwrap();
        gauge.during(format!("{fault:?}"));
        runtime.block_on(soak.commit(fault));
    }
    let samples = gauge.end();
    let (answered, cut) = load.end();
    runtime.block_on(soak.is_true());
    let after = descriptors_at_rest(supervisor);
    let counts = &soak.counts;
    let (early, late) = samples.early_and_late_kib();
    println!("soak of {time:?}, seed {seed}: {counts:?}, {answered} requests answered, {cut} cut");
    println!("{}{early} KiB, then {late} KiB; the highest: {:?}", samples.table(), samples.peak());
    assert!(answered > 100, "{answered} requests were answered");
    // The end of a run, which does not drain, hits what it is just serving: one request of each
    // of its callers at the most.
    let ends = FAULTS.iter().filter(|fault| **fault != Fault::Pause).map(|fault| counts[fault]);
    let most = u64::from(ends.sum::<u32>()) * CALLERS as u64;
    assert!(cut <= most, "{cut} requests were cut by {counts:?}");
    assert_eq!(after, before, "its descriptors grow");
    let leeway = if time < WARM { COLD_LEEWAY_KIB } else { LEEWAY_KIB };
    assert!(late <= early + leeway, "it grows from {early} KiB to {late} KiB");
    fixture.xtask(&["down"]).ends_with(0);
    fixture.is_quiet();
}

/// The stack of the fixture, by its folder.
fn stack(fixture: &Fixture) -> Stack {
    let workspace = std::fs::read_dir(fixture.state()).unwrap().flatten();
    let mut folders = workspace.map(|entry| entry.path().join("dev")).filter(|path| path.is_dir());
    let paths = StackPaths::at(folders.next().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Stack::connect(paths)).unwrap()
}

struct Soak<'a> {
    fixture: &'a Fixture,
    stack: Stack,
    chance: Chance,
    /// How many runs of each service were asked for beside the first.
    runs: BTreeMap<&'static str, u64>,
    edition: u32,
    counts: BTreeMap<Fault, u32>,
}

impl Soak<'_> {
    /// Does one thing to one service, and waits until it serves again.
    async fn commit(&mut self, fault: Fault) {
        let name = *self.chance.pick(&SERVICES).unwrap();
        let service = self.stack.service(name);
        let before = service.status().await.unwrap().run;
        match fault {
            Fault::Kill => {
                service.kill().await.unwrap();
                service.wait_ready_after(before).await.unwrap();
            }
            Fault::Restart => service.restart().await.unwrap(),
            Fault::Pause => self.pause(&service).await,
            Fault::Rebuild => self.rebuild(name),
        }
        let after = service.wait_ready().await.unwrap().run;
        let new = u64::from(fault != Fault::Pause);
        assert_eq!(after, before + new, "`{name}` after {fault:?}");
        *self.runs.entry(name).or_default() += new;
        *self.counts.entry(fault).or_default() += 1;
    }

    async fn pause(&mut self, service: &Service) {
        service.pause().await.unwrap();
        assert!(service.status().await.unwrap().paused);
        let time = self.chance.duration(Duration::ZERO, Duration::from_millis(300));
        tokio::time::sleep(time).await;
        service.resume().await.unwrap();
    }

    fn rebuild(&mut self, name: &str) {
        let number = self.edition;
        self.edition += 1;
        let source = self.fixture.text(&format!("{name}/src/bin/{name}.rs"));
        let (_, rest) = source.split_once('\n').unwrap();
        let first = format!("const EDITION: &str = \"edition {}\";\n", number + 1);
        self.fixture.file(&format!("{name}/src/bin/{name}.rs"), &(first + rest));
        self.fixture.xtask(&["up", "-d", "--ports", "auto"]).ends_with(0);
    }

    /// What the status says is so: every service runs, as often as it was asked to, and
    /// who answers at its address is who is said to.
    async fn is_true(&self) {
        let snapshot = self.stack.status().await.unwrap();
        for name in SERVICES {
            let service = snapshot.service(name).unwrap();
            let pid = service.pid.unwrap();
            assert_eq!((service.phase, service.paused), (Phase::Ready, false), "{service:?}");
            assert_eq!(service.run, 1 + self.runs.get(name).copied().unwrap_or(0), "{service:?}");
            assert!(alive(pid.cast_signed()), "{service:?}");
            let answer = get(service.ports["http"], "/").unwrap();
            assert_eq!((answer.status, answer.body), (200, pid.to_string()));
        }
    }
}

/// Clients that ask all the time.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    cut: Arc<AtomicU64>,
    callers: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(fixture: &Fixture) -> Self {
        let (over, answered, cut) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let ports = SERVICES.map(|name| port(fixture, name));
        let caller = |port: u16| {
            let (over, answered, cut) = (over.clone(), answered.clone(), cut.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    match get(port, "/") {
                        Some(answer) => {
                            assert_eq!(answer.status, 200);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        // Only the end of a run may do that, to what it was just serving.
                        None => drop(cut.fetch_add(1, Ordering::Relaxed)),
                    }
                    // The machine is not ours alone.
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let callers = ports.into_iter().flat_map(|port| [port; CALLERS]).map(caller).collect();
        Self { over, answered, cut, callers }
    }

    /// Ends it: how many requests were answered, and how many were cut.
    fn end(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        self.callers.into_iter().for_each(|caller| caller.join().unwrap());
        (self.answered.load(Ordering::Relaxed), self.cut.load(Ordering::Relaxed))
    }
}

/// The number of descriptors at rest: the same twice, a while apart.
fn descriptors_at_rest(pid: i32) -> usize {
    let mut last = descriptors(pid);
    eventually(Duration::from_secs(30), "a supervisor at rest", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = descriptors(pid);
        (std::mem::replace(&mut last, now) == now).then_some(now)
    })
}
