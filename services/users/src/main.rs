//! `users`: the service that owns the people and gets their lists from `todo`.
//!
//! It neither stores lists nor caches answers of `todo`.

use std::process::ExitCode;

use kit::listener::Listeners;
use kit::service::{self, Fatal};
use kit::{Limits, Settings};
use users::config::{Config, DEFAULT_PORT};
use users::http;
use users::store::Store;
use users::todo::Todo;

fn main() -> ExitCode {
    service::run("users", env!("CARGO_PKG_VERSION"), DEFAULT_PORT, serve)
}

async fn serve(settings: Settings) -> Result<(), Fatal> {
    let config = Config::from_settings(&settings)?;
    // The socket is first: callers queue in it during the migrations.
    let listeners = Listeners::obtain(&settings, &config.address)?;
    let store = Store::open(&config.database_url).await?;
    let app = http::app(store.clone(), Todo::new(config.todo), Limits::default());
    let result = service::serve_until_signal(listeners, app).await;
    store.close().await;
    result
}
