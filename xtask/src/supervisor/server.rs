//! The control socket: who may speak, line by line, and the driver's answers.
//!
//! It understands the protocol's frame and none of its requests. A client that is
//! slow, silent or wrong harms nobody but itself.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use xtask_client::protocol::{self, Answer, Nonsense, Reply};

use super::request::{MOST_LONG_LINES, Unread, line};
use crate::driver::outbox::{Board, Outbox, Outboxes};
use crate::driver::{Asked, ConnectionId, Input};
use crate::system::say;

/// How many clients are served at once; more are turned away with a word.
const MOST_CLIENTS: usize = 256;

/// Makes connections out of streams.
pub(crate) struct Server {
    inputs: UnboundedSender<Input>,
    outboxes: Outboxes,
    last_connection: ConnectionId,
    writers: Vec<JoinHandle<()>>,
    limits: Rc<Limits>,
}

/// What all clients share. Each holds two handles, one for either direction, for as long
/// as it costs memory.
struct Limits {
    long_lines: Semaphore,
}

impl Server {
    /// A server whose clients reach the driver through `inputs`.
    pub(crate) fn new(inputs: UnboundedSender<Input>, board: &Board) -> Self {
        let limits = Rc::new(Limits { long_lines: Semaphore::new(MOST_LONG_LINES) });
        let outboxes = board.outboxes();
        Self { inputs, outboxes, last_connection: 0, writers: Vec::new(), limits }
    }

    /// Accepts clients of this user for ever.
    pub(crate) async fn accept(&mut self, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if !is_ours(&stream) => {
                    say("a process of another user was turned away");
                }
                Ok((stream, _)) if Rc::strong_count(&self.limits) > 2 * MOST_CLIENTS => {
                    turn_away(&stream);
                }
                Ok((stream, _)) => self.serve(stream),
                // Out of descriptors, most likely: others must end before it goes on.
                Err(error) => {
                    say(&format!("the control socket does not accept: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Serves a client that is connected already.
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
        let limits = Rc::clone(&self.limits);
        self.writers.push(spawn_local({
            let (outbox, limits) = (outbox.clone(), Rc::clone(&limits));
            async move {
                write(writer, outbox).await;
                drop(limits);
            }
        }));
        spawn_local(async move {
            read(reader, connection, &outbox, &inputs, &limits).await;
            let _ = inputs.send(Input::Closed { connection });
            outbox.close();
        });
    }

    /// The tasks that still write to clients.
    pub(crate) fn into_writers(self) -> Vec<JoinHandle<()>> {
        self.writers
    }
}

/// One request after the other: the next is read when this one is answered, or is to be
/// later, and most answers are written, so that neither what a client sends nor what it
/// does not read grows in this process' memory.
async fn read(
    reader: OwnedReadHalf,
    connection: ConnectionId,
    outbox: &Outbox,
    inputs: &UnboundedSender<Input>,
    limits: &Limits,
) {
    let mut reader = BufReader::new(reader);
    while outbox.has_room().await {
        let (line, _turn) = match line(&mut reader, &limits.long_lines).await {
            Ok(line) => line,
            Err(Unread::Gone) => return,
            Err(Unread::Refused(why)) => {
                refuse(outbox, 0, why);
                return;
            }
        };
        let call = match protocol::read(&line) {
            Ok(call) => call,
            Err(Nonsense { id, message }) => {
                refuse(outbox, id, message);
                continue;
            }
        };
        drop(line);
        let (answered, answer) = oneshot::channel();
        let call = Asked { id: call.id, request: call.request, answered };
        if inputs.send(Input::Call { connection, call }).is_err() {
            return;
        }
        let _ = answer.await;
    }
}

/// Says at once that there is no room, to a client that may not even listen.
fn turn_away(stream: &UnixStream) {
    let message = format!("{MOST_CLIENTS} clients are connected already");
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
    use xtask_client::protocol::{Call, Request, VERSION};
    use xtask_client::snapshot::{Phase, ServiceSnapshot, State};

    use super::*;
    use crate::sample::{service, snapshot};

    /// A server, and a driver that knows nothing but `Watch`.
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

        /// Takes the inputs up to one call, and answers it.
        async fn answer(&mut self) {
            loop {
                match self.inputs.recv().await.unwrap() {
                    Input::Opened { outbox, .. } => self.outboxes.push(outbox),
                    Input::Call { connection, call } => {
                        let outbox =
                            self.outboxes[usize::try_from(connection).unwrap() - 1].clone();
                        let reply = match call.request {
                            Request::Watch => {
                                self.board.add(outbox.clone());
                                Reply::Snapshot(snapshot(Vec::new()))
                            }
                            _ => Reply::Done,
                        };
                        outbox.answer(Answer { id: call.id, reply });
                        call.answered.send(()).unwrap();
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
            let call = Call { version: VERSION, id, request };
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
    async fn what_makes_no_sense_is_refused_and_the_connection_goes_on() {
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
                    // Nobody knows what a later version asks.
                    "{\"version\":99,\"id\":8,\"question\":[1,2]}\n",
                ];
                for line in wrong {
                    client.writer.write_all(line.as_bytes()).await.unwrap();
                }
                for (id, words) in [(0, "no sense"), (7, "no sense"), (8, "version 99")] {
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
    async fn a_line_without_end_is_refused_and_its_sender_cut_off() {
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
    async fn a_slow_client_gets_the_newest_state_once() {
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
    async fn an_answer_comes_after_what_changed_before_it_and_before_what_changed_after_it() {
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
