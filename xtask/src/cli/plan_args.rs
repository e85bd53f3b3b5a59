//! The arguments that shape a plan, alike for every command that makes one.
//!
//! What is asked for is read here and not judged: that is planning.

use clap::{Args, ValueEnum};
use xtask_core::plan::{Building, Containers, Cycles, Isolation, Ports, Request};

/// What shapes the graph, for every command that makes one.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OverlayArgs {
    /// Activate an overlay of the metadata
    #[arg(long, value_name = "NAME")]
    pub(crate) with: Vec<String>,
    /// `relax`: start in spite of a cycle, for this time
    #[arg(long, value_name = "HOW")]
    pub(crate) cycles: Option<CyclesWhen>,
}

/// What shapes a plan, for commands that do something with variables.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) overlays: OverlayArgs,
    /// Set a variable, for one service or all
    #[arg(short = 'e', long = "env", value_name = "[SERVICE:]KEY=VALUE")]
    pub(crate) env: Vec<String>,
}

/// Where services run on this machine, for commands whose plan is of a stack here.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlaceArgs {
    /// `auto`: free ports instead of those in the metadata
    #[arg(long, value_name = "HOW")]
    pub(crate) ports: Option<PortsWhen>,
    /// Run services in containers: these, or all whose program is built here; names follow
    /// after `=`
    #[arg(long, value_name = "SERVICE", num_args = 0.., require_equals = true,
        value_delimiter = ',')]
    pub(crate) containers: Option<Vec<String>>,
    /// Nothing from the shell, and free ports
    #[arg(long, hide = true)]
    pub(crate) isolated: bool,
}

/// How programs are built, for commands that build.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BuildArgs {
    /// Build in release mode
    #[arg(short, long, conflicts_with = "profile", help_heading = "Build")]
    pub(crate) release: bool,
    /// Build with this profile
    #[arg(long, value_name = "NAME", help_heading = "Build")]
    pub(crate) profile: Option<String>,
    /// Build without the network
    #[arg(long, help_heading = "Build")]
    pub(crate) offline: bool,
    /// Build only if Cargo.lock need not change
    #[arg(long, help_heading = "Build")]
    pub(crate) locked: bool,
}

/// Which programs images are made of.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ProgramArgs {
    /// Do not build: take the programs of an earlier build
    #[arg(long)]
    pub(crate) no_build: bool,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// Where ports come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortsWhen {
    /// Any free ones.
    Auto,
}

/// What to do about cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CyclesWhen {
    /// Treat the smallest set of edges as `uses`.
    Relax,
}

impl PlanArgs {
    /// Adds to a request what is asked for.
    pub(crate) fn shape(&self, request: &mut Request) {
        request.overlays.clone_from(&self.overlays.with);
        request.variables.clone_from(&self.env);
        request.cycles = match self.overlays.cycles {
            Some(CyclesWhen::Relax) => Cycles::Relax,
            None => Cycles::Refuse,
        };
    }
}

impl PlaceArgs {
    /// Adds to a request what is asked for.
    pub(crate) fn shape(&self, request: &mut Request) {
        request.ports = match self.ports {
            Some(PortsWhen::Auto) => Ports::Auto,
            None => Ports::Declared,
        };
        request.containers = match self.containers.as_deref() {
            None => Containers::None,
            Some([]) => Containers::All,
            Some(names) => Containers::Named(names.to_vec()),
        };
        if self.isolated {
            request.isolation = Isolation::Isolated;
        }
    }
}

impl From<OverlayArgs> for PlanArgs {
    fn from(overlays: OverlayArgs) -> Self {
        Self { overlays, ..Self::default() }
    }
}

impl ProgramArgs {
    /// Adds to a request what is asked for.
    pub(crate) fn shape(&self, request: &mut Request) {
        self.build.shape(self.no_build, request);
    }
}

impl BuildArgs {
    /// Adds to a request what is asked for. With `no_build` nothing is built.
    pub(crate) fn shape(&self, no_build: bool, request: &mut Request) {
        request.cargo_args = self.cargo_args();
        request.building = if no_build { Building::Skip } else { Building::Build };
    }

    /// The profile to build with.
    pub(crate) fn profile(&self) -> &str {
        match &self.profile {
            Some(profile) => profile,
            None if self.release => "release",
            None => "dev",
        }
    }

    /// What cargo is told about it.
    fn cargo_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if self.release {
            args.push("--release".to_string());
        }
        if let Some(profile) = &self.profile {
            args.extend(["--profile".to_string(), profile.clone()]);
        }
        if self.offline {
            args.push("--offline".to_string());
        }
        if self.locked {
            args.push("--locked".to_string());
        }
        args
    }
}
