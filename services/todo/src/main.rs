//! `todo`: the service that owns the lists of each username and their items.
//!
//! A username is only a key here: the service `users` owns the people.

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
    // The socket is first: callers queue in it during the migrations.
    let listeners = Listeners::obtain(&settings, &config.address)?;
    let store = Store::open(&config.database_url).await?;
    let app = http::app(store.clone(), Limits::default());
    let result = service::serve_until_signal(listeners, app).await;
    store.close().await;
    result
}
