//! The control socket: accepts clients, reads their requests, writes the driver's answers.
//!
//! It parses the protocol's frame and does not interpret requests. A slow, silent or faulty
//! client affects only itself.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use xtask_control::protocol::{self, Answer, MalformedCall, Reply};

use super::request::{MOST_LONG_LINES, Unread, line};
use crate::driver::outbox::{Board, Outbox, Outboxes};
use crate::driver::{ConnectionId, Input, Pending};
use crate::system::say;
use crate::system::task::spawn_local;

/// The number of clients served at once; more are refused with a message.
const MOST_CLIENTS: usize = 256;

pub(crate) struct Server {
    inputs: UnboundedSender<Input>,
    outboxes: Outboxes,
    last_connection: ConnectionId,
    /// The tasks that write to clients.
    pub(super) writers: Vec<JoinHandle<()>>,
    /// Shared by all clients. Each client holds two handles, one for each direction, until its
    /// tasks have ended.
    long_lines: Rc<Semaphore>,
}

impl Server {
    pub(crate) fn new(inputs: UnboundedSender<Input>, board: &Board) -> Self {
        let long_lines = Rc::new(Semaphore::new(MOST_LONG_LINES));
        let outboxes = board.outboxes();
        Self { inputs, outboxes, last_connection: 0, writers: Vec::new(), long_lines }
    }

    /// Accepts clients of this user until it is cancelled.
    pub(crate) async fn accept(&mut self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if !is_ours(&stream) => {
                    say("refused a connection of another user");
                }
                Ok((stream, _)) if Rc::strong_count(&self.long_lines) > 2 * MOST_CLIENTS => {
                    refuse_client(&stream);
                }
                Ok((stream, _)) => self.serve(stream),
                // Most likely no descriptor is left, so wait until some are closed.
                Err(error) => {
                    say(&format!("failed to accept on the control socket: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Serves a connected client.
    pub(crate) fn serve(&mut self, stream: UnixStream) {
        self.last_connection += 1;
        let connection = self.last_connection;
        let outbox = self.outboxes.outbox();
        let (reader, writer) = stream.into_split();
        let inputs = self.inputs.clone();
        if inputs.send(Input::Opened { connection, outbox: outbox.clone() }).is_err() {
            return;
        }
        self.writers.retain(|writer| !writer.is_finished());
        let (long_lines, written) = (Rc::clone(&self.long_lines), Rc::clone(&self.long_lines));
        let queue = outbox.clone();
        self.writers.push(spawn_local(async move {
            write(writer, queue).await;
            drop(written);
        }));
        spawn_local(async move {
            read(reader, connection, &outbox, &inputs, &long_lines).await;
            let _ = inputs.send(Input::Closed { connection });
            outbox.close();
        });
    }
}

/// Reads one request after the other. The next one is read when this one is answered or deferred
/// and most answers are written. So neither unread answers nor pending requests pile up in memory.
async fn read(
    reader: OwnedReadHalf,
    connection: ConnectionId,
    outbox: &Outbox,
    inputs: &UnboundedSender<Input>,
    long_lines: &Semaphore,
) {
    let mut reader = BufReader::new(reader);
    while outbox.has_room().await {
        let (line, _turn) = match line(&mut reader, long_lines).await {
            Ok(line) => line,
            Err(Unread::Gone) => return,
            Err(Unread::Refused(why)) => {
                refuse(outbox, 0, why);
                return;
            }
        };
        let call = match protocol::parse_call(&line) {
            Ok(call) => call,
            Err(MalformedCall { id, message }) => {
                refuse(outbox, id, message);
                continue;
            }
        };
        drop(line);
        let (answered, answer) = oneshot::channel();
        let pending = Pending { connection, id: call.id, answered };
        if inputs.send(Input::Call { pending, request: call.request }).is_err() {
            return;
        }
        let _ = answer.await;
    }
}

/// Refuses a client without waiting for it to read the message.
fn refuse_client(stream: &UnixStream) {
    let message = format!("{MOST_CLIENTS} clients are already connected");
    let answer = Answer { id: 0, reply: Reply::Refused { message } };
    if let Ok(mut line) = serde_json::to_vec(&answer) {
        line.push(b'\n');
        let _ = stream.try_write(&line);
    }
}

fn refuse(outbox: &Outbox, id: u64, message: String) {
    outbox.answer(Answer { id, reply: Reply::Refused { message } });
}

async fn write(mut writer: OwnedWriteHalf, outbox: Outbox) {
    let mut bytes = Vec::new();
    while let Some(answers) = outbox.next().await {
        bytes.clear();
        for answer in answers {
            if serde_json::to_writer(&mut bytes, &answer).is_ok() {
                bytes.push(b'\n');
            }
        }
        if writer.write_all(&bytes).await.is_err() {
            outbox.close();
        }
    }
    let _: io::Result<()> = writer.shutdown().await;
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
    use tokio::net::unix::OwnedReadHalf;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::task::LocalSet;
    use xtask_control::protocol::{Call, Request, VERSION};
    use xtask_core::snapshot::{Phase, ServiceSnapshot, State};

    use super::*;
    use crate::sample::{service, snapshot};

    /// A server with a driver that implements only `Watch`.
    struct Scene {
        board: Board,
        server: Server,
        inputs: UnboundedReceiver<Input>,
        outboxes: Vec<Outbox>,
    }

    struct Client {
        lines: Lines<BufReader<OwnedReadHalf>>,
        writer: OwnedWriteHalf,
    }

    impl Scene {
        fn new() -> Self {
            let (sender, inputs) = unbounded_channel();
            let board = Board::new("dev".to_string());
            let server = Server::new(sender, &board);
            Self { board, server, inputs, outboxes: Vec::new() }
        }

        fn connect(&mut self) -> Client {
            let (ours, theirs) = UnixStream::pair().unwrap();
            self.server.serve(theirs);
            let (reader, writer) = ours.into_split();
            Client { lines: BufReader::new(reader).lines(), writer }
        }

        /// Reads inputs up to the next call and answers it.
        async fn answer(&mut self) {
            loop {
                match self.inputs.recv().await.unwrap() {
                    Input::Opened { outbox, .. } => self.outboxes.push(outbox),
                    Input::Call { pending: Pending { connection, id, answered }, request } => {
                        let outbox =
                            self.outboxes[usize::try_from(connection).unwrap() - 1].clone();
                        let reply = match request {
                            Request::Watch => {
                                self.board.add(outbox.clone());
                                Reply::Snapshot(snapshot(Vec::new()))
                            }
                            _ => Reply::Done,
                        };
                        outbox.answer(Answer { id, reply });
                        answered.send(()).unwrap();
                        return;
                    }
                    Input::Closed { .. }
                    | Input::Leave
                    | Input::Abandoned
                    | Input::Unguarded { .. } => {}
                }
            }
        }

        fn publish(&mut self, phase: Phase) {
            self.board.publish(State::Working, [service("a", phase)].into_iter());
        }
    }

    impl Client {
        async fn send(&mut self, id: u64, request: Request) {
            let call = Call { version: VERSION, tool: None, id, request };
            let mut line = serde_json::to_vec(&call).unwrap();
            line.push(b'\n');
            self.writer.write_all(&line).await.unwrap();
        }

        async fn receive(&mut self) -> Answer {
            serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
        }
    }

    fn phases(answer: &Answer) -> Vec<Phase> {
        match &answer.reply {
            Reply::Changed { services, .. } => services.iter().map(phase_of).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn phase_of(service: &ServiceSnapshot) -> Phase {
        service.phase
    }

    #[tokio::test]
    async fn malformed_request_is_refused_and_connection_stays_open() {
        LocalSet::new()
            .run_until(async {
                let mut scene = Scene::new();
                let mut client = scene.connect();
                let dance = format!(
                    "{{\"version\":{VERSION},\"id\":7,\"request\":{{\"type\":\"dance\"}}}}\n"
                );
                let wrong = [
                    "nonsense\n",
                    &dance,
                    // Requests of a later version are unknown.
                    "{\"version\":99,\"id\":8,\"question\":[1,2]}\n",
                ];
                for line in wrong {
                    client.writer.write_all(line.as_bytes()).await.unwrap();
                }
                for (id, words) in [(0, "malformed"), (7, "malformed"), (8, "protocol 99")] {
                    let answer = client.receive().await;
                    assert_eq!(answer.id, id);
                    let Reply::Refused { message } = answer.reply else { panic!("{answer:?}") };
                    assert!(message.contains(words), "{message}");
                }
                client.send(9, Request::Watch).await;
                scene.answer().await;
                assert!(matches!(client.receive().await.reply, Reply::Snapshot(_)));
            })
            .await;
    }

    #[tokio::test]
    async fn endless_line_is_refused_and_disconnected() {
        LocalSet::new()
            .run_until(async {
                let mut scene = Scene::new();
                let Client { mut lines, mut writer } = scene.connect();
                let flood = spawn_local(async move {
                    let part = vec![b'x'; 1 << 20];
                    while writer.write_all(&part).await.is_ok() {}
                });
                let line = lines.next_line().await.unwrap().unwrap();
                assert!(line.contains("longer than"), "{line}");
                assert_eq!(lines.next_line().await.unwrap_or(None), None);
                flood.await.unwrap();
            })
            .await;
    }

    #[tokio::test]
    async fn slow_client_gets_the_newest_state_once() {
        LocalSet::new()
            .run_until(async {
                let mut scene = Scene::new();
                let mut client = scene.connect();
                client.send(1, Request::Watch).await;
                scene.answer().await;
                client.receive().await;
                for _ in 0..1000 {
                    scene.publish(Phase::Starting);
                    scene.publish(Phase::Ready);
                }
                assert_eq!(phases(&client.receive().await), [Phase::Ready]);
            })
            .await;
    }

    #[tokio::test]
    async fn answers_keep_their_order_among_changes() {
        LocalSet::new()
            .run_until(async {
                let mut scene = Scene::new();
                let mut client = scene.connect();
                client.send(1, Request::Watch).await;
                scene.answer().await;
                scene.publish(Phase::Starting);
                client.send(2, Request::BuildEnded { ok: true }).await;
                assert!(matches!(client.receive().await.reply, Reply::Snapshot(_)));
                assert_eq!(phases(&client.receive().await), [Phase::Starting]);
                scene.publish(Phase::Ready);
                scene.answer().await;
                scene.publish(Phase::Stopping);
                assert_eq!(phases(&client.receive().await), [Phase::Ready]);
                let answer = client.receive().await;
                assert_eq!((answer.id, matches!(answer.reply, Reply::Done)), (2, true));
                assert_eq!(phases(&client.receive().await), [Phase::Stopping]);
            })
            .await;
    }
}
