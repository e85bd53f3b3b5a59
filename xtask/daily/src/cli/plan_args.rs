//! The options that shape a plan, the same for every command that plans. Each `shape` adds its
//! options to a request, and planning checks their values.

use xtask_core::sorted::SortedMap;

use clap::{Args, ValueEnum};
use xtask_core::plan::{Building, Containers, Cycles, Isolation, KeptFlags, Ports, Request};

/// Options that select the graph.
#[derive(Clone, Debug, Default, Args)]
pub struct OverlayArgs {
    /// Apply an overlay of the metadata
    #[arg(long, value_name = "NAME")]
    pub with: Vec<String>,
    /// What to do about cycles [default: refuse to start]
    #[arg(long, value_name = "HOW")]
    pub cycles: Option<CyclesWhen>,
}

/// Options of commands that use the variables of services.
#[derive(Clone, Debug, Default, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub overlays: OverlayArgs,
    /// Set a variable for one or all services
    #[arg(short = 'e', long = "env", value_name = "[SERVICE:]KEY=VALUE")]
    pub env: Vec<String>,
}

/// Options of commands that plan a stack on this machine.
#[derive(Clone, Debug, Default, Args)]
pub struct StackArgs {
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Where ports come from [default: the metadata]
    #[arg(long, value_name = "HOW")]
    pub ports: Option<PortsWhen>,
    /// Run these services in containers, or without `=SERVICE` all whose program cargo builds
    #[arg(long, value_name = "SERVICE", num_args = 0.., require_equals = true,
        value_delimiter = ',')]
    pub containers: Option<Vec<String>>,
    /// Use free ports and ignore the shell's variables
    #[arg(long, hide = true)]
    pub isolated: bool,
}

/// Options of commands that build.
#[derive(Clone, Debug, Default, Args)]
pub struct BuildArgs {
    /// Build in release mode
    #[arg(short, long, conflicts_with = "profile", help_heading = "Build")]
    pub release: bool,
    /// Build with this profile [default: dev]
    #[arg(long, value_name = "NAME", help_heading = "Build")]
    pub profile: Option<String>,
    /// Build without network access
    #[arg(long, help_heading = "Build")]
    pub offline: bool,
    /// Fail if Cargo.lock needs to change
    #[arg(long, help_heading = "Build")]
    pub locked: bool,
}

/// Options of commands that use built programs.
#[derive(Clone, Debug, Default, Args)]
pub struct ProgramArgs {
    /// Use the programs of an earlier build
    #[arg(long)]
    pub no_build: bool,
    #[command(flatten)]
    pub build: BuildArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PortsWhen {
    /// Free ports that the system chooses.
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CyclesWhen {
    /// Treat the smallest set of edges as `uses` for this start.
    Relax,
}

impl OverlayArgs {
    pub fn shape(&self, request: &mut Request) {
        request.overlays.clone_from(&self.with);
        if let Some(CyclesWhen::Relax) = self.cycles {
            request.cycles = Cycles::Relax;
        }
    }
}

impl PlanArgs {
    pub fn shape(&self, request: &mut Request) {
        self.overlays.shape(request);
        request.variables.clone_from(&self.env);
    }
}

impl StackArgs {
    pub fn shape(&self, request: &mut Request) {
        self.plan.shape(request);
        if let Some(PortsWhen::Auto) = self.ports {
            request.ports = Ports::Auto;
        }
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

impl StackArgs {
    /// The flags of this command that a stack keeps.
    pub fn kept(&self, build: &BuildArgs) -> KeptFlags {
        KeptFlags {
            overlays: self.plan.overlays.with.clone(),
            variables: self.plan.env.clone(),
            auto_ports: self.ports == Some(PortsWhen::Auto),
            containers: self.containers.as_ref().map(|names| names.iter().cloned().collect()),
            profile: build.typed_profile().map(str::to_owned),
            watch: None,
            arguments: SortedMap::new(),
        }
    }
}

impl ProgramArgs {
    pub fn shape(&self, request: &mut Request) {
        self.build.shape(request);
        if self.no_build {
            request.building = Building::Skip;
        }
    }
}

impl BuildArgs {
    pub fn shape(&self, request: &mut Request) {
        request.cargo_args = self.cargo_args();
    }

    pub fn profile(&self) -> &str {
        self.typed_profile().unwrap_or("dev")
    }

    /// Builds with the profile of an earlier command, unless this one names another.
    pub fn keep_profile(&mut self, kept: Option<&str>) {
        if self.typed_profile().is_none() {
            self.profile = kept.map(str::to_owned);
        }
    }

    /// The profile, if the command line names one.
    pub fn typed_profile(&self) -> Option<&str> {
        self.profile.as_deref().or(self.release.then_some("release"))
    }

    /// The same options for cargo.
    fn cargo_args(&self) -> Vec<String> {
        let flags =
            [(self.release, "--release"), (self.offline, "--offline"), (self.locked, "--locked")];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag);
        let profile = self.profile.iter().flat_map(|profile| ["--profile", profile]);
        flags.chain(profile).map(str::to_owned).collect()
    }
}
