//! What a section of metadata may say, with the place of everything said.
//!
//! Everything is optional: a section, an overlay and a workspace table have the same
//! shape, and merging them is the model's work. No default is applied here.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::at::{At, Words};
use super::deploy::Deploy;
use crate::terms::{Adopt, Condition, Kind, Placement, Restart};

/// The keys of one section.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `bin`.
    pub bin: Option<Words>,
    /// `command`: program and arguments, never empty.
    pub command: Option<At<Vec<Words>>>,
    /// `image`.
    pub image: Option<Words>,
    /// `external`.
    pub external: Option<At<bool>>,
    /// `placement`.
    pub placement: Option<At<Placement>>,
    /// `kind`.
    pub kind: Option<At<Kind>>,
    /// `depends-on`.
    pub depends_on: Vec<DependsOn>,
    /// `uses`.
    pub uses: Vec<Words>,
    /// `port` or `ports`.
    pub ports: Option<At<Vec<PortWanted>>>,
    /// `url`.
    pub url: Option<Words>,
    /// `host`.
    pub host: Option<Words>,
    /// `socket-activation`.
    pub socket_activation: Option<At<bool>>,
    /// `ready`.
    pub ready: Option<At<Ready>>,
    /// `watchdog`.
    pub watchdog: Option<At<Duration>>,
    /// `args`.
    pub args: Option<Vec<Words>>,
    /// `env`: name and value.
    pub env: Vec<(Words, Words)>,
    /// `env-file`.
    pub env_file: Option<Words>,
    /// `volumes`: the path in the container, and what is seen there.
    pub volumes: Vec<(Words, Words)>,
    /// `deploy`.
    pub deploy: Deploy,
    /// `self-probe`: arguments, never empty.
    pub self_probe: Option<At<Vec<Words>>>,
    /// `cwd`.
    pub cwd: Option<Words>,
    /// `features`.
    pub features: Option<At<Vec<Words>>>,
    /// `no-default-features`.
    pub no_default_features: Option<At<bool>>,
    /// `restart`.
    pub restart: Option<At<Restart>>,
    /// `stop.signal`.
    pub stop_signal: Option<Words>,
    /// `stop.timeout`.
    pub stop_timeout: Option<At<Duration>>,
    /// `start-timeout`.
    pub start_timeout: Option<At<Duration>>,
    /// `log.size`, in bytes.
    pub log_size_bytes: Option<At<u64>>,
    /// `log.files`.
    pub log_files: Option<At<u32>>,
    /// `adopt`.
    pub adopt: Option<At<Adopt>>,
}

/// One entry of `depends-on`.
#[derive(Clone, Debug)]
pub struct DependsOn {
    /// The service.
    pub on: Words,
    /// What is waited for, if said.
    pub condition: Option<At<Condition>>,
    /// Whether the dependent is restarted with it.
    pub restart: bool,
    /// The keys that lead to the table with this `depends-on`.
    pub table: Vec<String>,
}

/// One entry of `ports`.
#[derive(Clone, Debug)]
pub struct PortWanted {
    /// Its name, at the place of its key.
    pub name: Words,
    /// The number, or none for any (`0`).
    pub number: Option<u16>,
}

/// `ready`.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// `http`: the path.
    pub http: Option<Words>,
    /// `status`, with `http`.
    pub status: Vec<u16>,
    /// `port`: the name, with `http` or `tcp`.
    pub port: Option<Words>,
    /// `tcp`.
    pub tcp: bool,
    /// `log`: a regular expression.
    pub log: Option<Words>,
    /// `notify`.
    pub notify: bool,
    /// `command`: program and arguments.
    pub command: Option<Vec<Words>>,
}

/// A section that declares a service.
#[derive(Clone, Debug)]
pub struct Section {
    /// The service's name: at `name`, or else at the section's own key.
    pub name: Words,
    /// Who declares it.
    pub owner: Owner,
    /// The folder that relative paths start from, absolute.
    pub folder: String,
    /// Its keys.
    pub settings: Settings,
    /// `with.NAME`.
    pub overlays: Vec<(Words, Settings)>,
}

/// Who declares a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The package at this index of [`super::Declarations::packages`].
    Package(usize),
    /// The workspace.
    Workspace,
}
