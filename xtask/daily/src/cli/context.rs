//! Sends the context of this command to a supervisor: what the services inherit that it starts.

use xtask_control::connection;
use xtask_control::protocol::Request;

use super::print;
use crate::session::connect::Session;
use crate::system::context::{beyond_reach, of_this_process};
use crate::view::style::WARN;
use crate::view::words::command_for;

/// Sends the context, and reports what the supervisor cannot give to its services.
pub(crate) async fn send(session: &mut Session) -> Result<(), connection::Error> {
    let context = Box::new(of_this_process());
    let missing = beyond_reach(&context, session.snapshot.supervisor_pid);
    if !missing.is_empty() {
        let down = command_for(&session.snapshot.stack, "down");
        let text = format!(
            "services get less than this shell has, as the command that started the stack: {}; {down} \
             ends the stack",
            missing.join(", ")
        );
        print::progress(WARN, "Note", &text);
    }
    session.connection.send(Request::Context { context }).await?;
    Ok(())
}
