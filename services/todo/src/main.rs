//! `todo`: the service that owns lists and their items, for each username.
//!
//! It does not know who the users are: a username is a key here, and `users` owns the people.

use std::process::ExitCode;

use kit::listener::Listeners;
use kit::service::{self, Fatal};
use kit::{Limits, Settings};
use todo::config::{Config, DEFAULT_PORT};
use todo::http;
use todo::store::Store;

fn main() -> ExitCode {
    service::run("todo", env!("CARGO_PKG_VERSION"), DEFAULT_PORT, serve)
}

async fn serve(settings: Settings) -> Result<(), Fatal> {
    let config = Config::from_settings(&settings)?;
    // The socket comes first: callers queue in it while the tables are brought up to date.
    let listeners = Listeners::obtain(&settings, &config.address)?;
    let store = Store::open(&config.database_url).await?;
    let app = http::app(store.clone(), Limits::default());
    let outcome = service::serve_until_signal(listeners, app).await;
    store.close().await;
    outcome
}
