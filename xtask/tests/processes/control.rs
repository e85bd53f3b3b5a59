//! The control socket under attack: whatever one client sends, slowly, without end or
//! without sense, another one gets the right answers, and the supervisor stays small.
//!
//! Random bytes come from a seed, which a failure names; `XTASK_TRIES` multiplies them.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use xtask_client::protocol::VERSION;
use xtask_test_support::stand::tower;
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much the supervisor may grow, in KiB, whatever is thrown at it.
const GROWTH_KIB: u64 = 96 * 1024;

/// How many hostile connections there are, at least.
const ATTACKS: u64 = 300;

fn tries() -> u64 {
    std::env::var("XTASK_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(1)
}

/// Numbers that look random and are the same for one seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// A running stack and the way to its socket.
struct Target {
    fixture: Fixture,
    socket: PathBuf,
}

impl Target {
    fn up() -> Self {
        Self::of(tower("", ""))
    }

    fn of(fixture: Fixture) -> Self {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let workspace = fs::read_dir(fixture.state()).unwrap().next().unwrap().unwrap().path();
        let endpoint = fs::read(workspace.join("dev/supervisor.json")).unwrap();
        let endpoint: Value = serde_json::from_slice(&endpoint).unwrap();
        Self { fixture, socket: PathBuf::from(endpoint["socket"].as_str().unwrap()) }
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket)
    }

    fn supervisor(&self) -> i64 {
        self.fixture.status()["supervisor_pid"].as_i64().unwrap()
    }

    /// What the supervisor keeps in memory by now, in KiB.
    fn size(&self, pid: i64) -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

/// A client that speaks the protocol by hand.
struct Client {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Client {
    fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        Self { reader: BufReader::new(stream.try_clone().unwrap()), writer: stream }
    }

    fn send(&mut self, line: &Value) {
        self.writer.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Whether the other end is closed.
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).is_ok_and(|_| rest.is_empty())
    }
}

fn call(id: u64, request: &Value) -> Value {
    json!({ "version": VERSION, "id": id, "request": request })
}

/// Calls that change nothing, and nothing near them does.
fn harmless(random: &mut Random) -> Vec<u8> {
    let requests = [
        json!({ "type": "status" }),
        json!({ "type": "watch" }),
        json!({ "type": "hold", "hold": false }),
        json!({ "type": "linked", "services": ["nobody"], "path": "/no/where" }),
        json!({ "type": "build-failed", "services": ["nobody"], "message": "no" }),
        json!({ "type": "restart", "services": ["nobody"] }),
        json!({ "type": "apply", "plan": { "version": 2, "services": [] }, "hold": true }),
    ];
    let request = &requests[random.below(requests.len())];
    format!("{}\n", call(random.next(), request)).into_bytes()
}

/// What one hostile connection sends.
fn attack(random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => random.bytes(4096),
        1 => random.bytes(200_000),
        2 => (0..random.below(40)).flat_map(|_| harmless(random)).collect(),
        _ => {
            let mut bytes: Vec<u8> = (0..3).flat_map(|_| harmless(random)).collect();
            for _ in 0..1 + random.below(6) {
                let at = random.below(bytes.len());
                match random.below(4) {
                    0 => drop(bytes.remove(at)),
                    1 => bytes.insert(at, random.next().to_le_bytes()[0]),
                    2 => bytes[at] = random.next().to_le_bytes()[0],
                    _ => {
                        let piece = bytes[at..].to_vec();
                        bytes.extend(piece);
                    }
                }
            }
            bytes
        }
    }
}

/// Sends it in pieces, and reads or does not read what is answered.
fn assault(socket: &Path, random: &mut Random) {
    let Ok(mut stream) = UnixStream::connect(socket) else { return };
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let bytes = attack(random);
    for piece in bytes.chunks(1 + random.below(bytes.len() + 1)) {
        if stream.write_all(piece).is_err() {
            return;
        }
        if random.below(2) == 0 {
            let _ = stream.read(&mut [0; 4096]);
        }
    }
}

#[test]
fn client_works_while_others_send_garbage() {
    let target = Target::up();
    let seed = 0x5eed;
    let pid = target.supervisor();
    let before = target.size(pid);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let attackers: Vec<_> = (0..3)
            .map(|number| {
                let socket = &target.socket;
                scope.spawn(move || {
                    let mut random = Random(seed + number);
                    for _ in 0..ATTACKS * tries() / 3 {
                        assault(socket, &mut random);
                    }
                })
            })
            .collect();
        let (socket, over) = (&target.socket, &over);
        let honest = scope.spawn(move || {
            let mut client = Client::connect(socket);
            let mut id = 0;
            while !over.load(Ordering::Relaxed) {
                // Two calls in one piece: each answer must be its own call's.
                let stranger = format!("stranger-{id}");
                let odd = json!({ "type": "restart", "services": [&stranger] });
                let pair = [call(id, &json!({ "type": "status" })), call(id + 1, &odd)];
                let lines: String = pair.iter().map(|call| format!("{call}\n")).collect();
                client.writer.write_all(lines.as_bytes()).unwrap();
                let (first, second) = (client.answer(), client.answer());
                assert_eq!((&first["id"], &second["id"]), (&id.into(), &(id + 1).into()));
                assert_eq!(first["reply"]["type"], "snapshot", "{first}");
                assert_eq!(first["reply"]["supervisor_pid"], pid, "{first}");
                let words = second["reply"]["message"].as_str().unwrap();
                assert!(words.contains(&format!("`{stranger}`")), "{second}");
                id += 2;
            }
            id
        });
        attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
        over.store(true, Ordering::Relaxed);
        assert!(honest.join().unwrap() > 20, "seed {seed:#x}");
    });
    let grown = target.size(pid).saturating_sub(before);
    assert!(grown < GROWTH_KIB, "{grown} KiB more, seed {seed:#x}");
    let status = target.fixture.status();
    assert_eq!((&status["state"], status["supervisor_pid"].as_i64()), (&"ready".into(), Some(pid)));
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["run"], 1, "{service:#}");
    }
}

#[test]
fn slow_clients_are_bounded_and_block_no_client() {
    let target = Target::up();
    let pid = target.supervisor();
    let before = target.size(pid);
    // Half a line each, and never the rest.
    let mut half: Vec<Client> = (0..100).map(|_| target.client()).collect();
    for client in &mut half {
        client.writer.write_all(&[b'['; 60_000]).unwrap();
    }
    // Endless calls without a reader for the answers: at some point the supervisor stops reading.
    let mut greedy = target.client();
    let status = format!("{}\n", call(1, &json!({ "type": "status" }))).repeat(1000);
    let mut sent = 0;
    while greedy.writer.write_all(status.as_bytes()).is_ok() {
        sent += status.len();
        assert!(sent < 64 * 1024 * 1024, "the supervisor keeps unread answers");
    }
    // Lines without end: one after the other is refused, and a long one that is whole
    // is read beside them.
    let mut endless: Vec<Client> = (0..12).map(|_| target.client()).collect();
    for client in &mut endless {
        let _ = client.writer.set_nonblocking(true);
        let _ = client.writer.write(&vec![b'x'; 1024 * 1024]);
        let _ = client.writer.set_nonblocking(false);
    }
    let mut client = target.client();
    let begun = Instant::now();
    client.send(&call(7, &json!({ "type": "status" })));
    assert_eq!(client.answer()["id"], 7);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let padded = json!({ "type": "hold", "hold": false, "padding": "y".repeat(300_000) });
    client.writer.set_write_timeout(Some(PATIENCE)).unwrap();
    client.send(&call(8, &padded));
    assert_eq!(client.answer(), json!({ "id": 8, "reply": { "type": "done" } }));
    let refused = endless[0].answer();
    assert!(refused["reply"]["message"].as_str().unwrap().contains("longer than"), "{refused}");
    let grown = target.size(pid).saturating_sub(before);
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
}

/// A list of numbers takes many times its length once it is understood.
#[test]
fn overlong_line_is_refused_and_disconnected() {
    let target = Target::up();
    let mut client = target.client();
    client.writer.set_write_timeout(Some(PATIENCE)).unwrap();
    let list = "1,".repeat(4 * 1024 * 1024);
    let _ = client
        .writer
        .write_all(format!("{{\"version\":{VERSION},\"id\":1,\"x\":[{list}").as_bytes());
    let refused = client.answer();
    assert!(refused["reply"]["message"].as_str().unwrap().contains("longer than"), "{refused}");
    assert!(client.is_closed() || client.writer.write_all(b"x").is_err());
    assert_eq!(target.fixture.status()["state"], "ready");
}

#[test]
fn other_protocol_version_gets_a_hint() {
    let target = Target::up();
    let mut client = target.client();
    client.send(&json!({ "version": 7, "id": 3, "wish": { "unknown": true } }));
    let refused = client.answer();
    assert_eq!(refused["id"], 3);
    let words = refused["reply"]["message"].as_str().unwrap();
    assert!(words.contains("(protocol 7)") && words.contains(" down` stops"), "{words}");
    client.send(&call(4, &json!({ "type": "status" })));
    assert_eq!(client.answer()["id"], 4);
}

#[test]
fn surplus_clients_are_refused_and_others_continue() {
    let target = Target::up();
    let mut first = target.client();
    let crowd: Vec<Client> = (0..300).map(|_| target.client()).collect();
    let mut last = target.client();
    let refused = last.answer();
    assert!(refused["reply"]["message"].as_str().unwrap().contains("clients"), "{refused}");
    for args in [&["status"][..], &["down"], &["up", "-d"]] {
        target.fixture.xtask(args).ends_with(1).says("256 clients are already connected");
    }
    first.send(&call(1, &json!({ "type": "status" })));
    assert_eq!(first.answer()["id"], 1);
    drop(crowd);
    eventually(PATIENCE, "room again", || {
        let mut client = target.client();
        let sent = client
            .writer
            .write_all(format!("{}\n", call(2, &json!({ "type": "status" }))).as_bytes());
        (sent.is_ok() && client.answer()["id"] == 2).then_some(())
    });
}

/// Accepting a program may create an image, which takes time. Here it never ends, because opening
/// a pipe without a writer blocks.
#[test]
fn client_is_served_while_a_program_is_accepted() {
    let other_disk = tempfile::tempdir_in("/dev/shm").unwrap();
    let package = PackageSpec::new("shop", "shop").bin("shopd", SERVICE);
    let package = package.metadata("[package.metadata.service]\nname = \"shop\"\nport = 0\n");
    let fixture = Fixture::new("slow").package(package).write();
    let record = fixture.out().join("record");
    fixture.xtask(&["up", "-d", "--record", record.to_str().unwrap()]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let record = fs::read_to_string(record).unwrap();
    let steps = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut plans = steps.map(|step| step["step"]["event"]["plan"].clone());
    let plan = plans.find(Value::is_object).unwrap();
    let target = Target::of(fixture);
    let pipe = other_disk.path().join("shopd");
    let name = CString::new(pipe.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is a text that ends with a NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o700) }, 0);

    let mut client = target.client();
    for request in [
        json!({ "type": "apply", "plan": plan, "hold": false }),
        json!({ "type": "linked", "services": ["shop"], "path": pipe }),
    ] {
        client.send(&call(1, &request));
        assert_eq!(client.answer(), json!({ "id": 1, "reply": { "type": "done" } }));
    }
    client.send(&call(2, &json!({ "type": "build-ended", "ok": true })));
    client.send(&call(3, &json!({ "type": "build-ended", "ok": true })));
    let refused = client.answer();
    assert_eq!((&refused["id"], &refused["reply"]["type"]), (&3.into(), &"refused".into()));
    client.send(&call(4, &json!({ "type": "shutdown", "now": false })));
    assert_eq!(client.answer()["id"], 4);
    eventually(PATIENCE, "the end", || target.fixture.processes().is_empty().then_some(()));
}

/// Even where every folder and the socket itself are open to all.
#[test]
fn other_users_process_is_refused() {
    // SAFETY: the call has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        xtask_client::harness::skipped("root");
        return;
    }
    let target = Target::up();
    let open = |path: &Path| {
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(path, all).unwrap();
    };
    open(&target.socket);
    let base = target.fixture.state().parent().unwrap().to_path_buf();
    let folders = || target.socket.ancestors().skip(1).take_while(|path| path.starts_with(&base));
    folders().for_each(open);
    let socket = &target.socket;
    let received = thread::scope(|scope| {
        let stranger = scope.spawn(move || {
            // SAFETY: the bare system call concerns this thread alone, which ends soon.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
            assert_eq!(changed, 0);
            let mut client = Client::connect(socket);
            let _ = client.writer.write_all(format!("{}\n", call(1, &json!({}))).as_bytes());
            let mut received = Vec::new();
            // Cut off with the call unread is an error, not an end.
            let _ = client.reader.read_to_end(&mut received);
            received
        });
        stranger.join().unwrap()
    });
    assert_eq!(received, b"");
    // The tool trusts no folder that others can change.
    for folder in folders() {
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(folder, own).unwrap();
    }
    assert_eq!(target.fixture.status()["state"], "ready");
}
