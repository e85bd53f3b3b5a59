//! Questions to services that are ready: one GET each, within a time limit.

use std::time::Duration;

use tokio::task::JoinSet;
use xtask_core::plan::Probe;
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::terms::Name;

use super::{Error, Request, is_expected, resolve};

use crate::system::task;

/// How long a command waits for the answers of services.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// Asks once, and fails unless the answer has an expected status.
pub(crate) async fn ask(question: &PreparedProbe, limit: Duration) -> Result<(), Error> {
    let (Probe::Http { path, status, .. }, Some((host, port))) =
        (&question.probe, &question.address)
    else {
        return Err(Error::NoAddress);
    };
    let request = Request::new(host, *port, path);
    let answer = async { Ok(request.get(resolve(host, *port).await?).await?) };
    let answered = tokio::time::timeout(limit, answer).await;
    match answered.unwrap_or(Err(Error::Timeout(limit)))? {
        expected if is_expected(status, expected) => Ok(()),
        other => Err(Error::Status(other)),
    }
}

/// Asks all side by side. Returns those that did not answer as expected, with what was seen.
pub(crate) async fn ask_all(questions: Vec<(Name, PreparedProbe)>) -> Vec<(Name, String)> {
    let mut asked: JoinSet<_> = questions
        .into_iter()
        .map(|(name, question)| {
            task::boxed(async move {
                let seen = ask(&question, ASK_TIMEOUT).await.err()?;
                Some((name, seen.to_string()))
            })
        })
        .collect();
    let mut silent = Vec::new();
    while let Some(answered) = asked.join_next().await {
        silent.extend(answered.ok().flatten());
    }
    silent.sort();
    silent
}
