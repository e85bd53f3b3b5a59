//! `web`: the page on which people use their lists, and the only service that people see.
//!
//! It stores nothing: sessions are in `users`, lists are in `todo`.

use std::process::ExitCode;

use kit::Shell;
use kit::service::{self, Service};
use web::{Store, http};

const WEB: Service = Service { name: "web", version: env!("CARGO_PKG_VERSION"), port: 8080 };

fn main() -> ExitCode {
    service::run(&WEB, |settings| {
        let shell = Shell::from_settings(WEB.name, settings)?;
        let secure = settings.parsed("SECURE_COOKIES", false, "`true` or `false`")?;
        Ok(http::app(Store::from_settings(settings)?, secure, shell))
    })
}
