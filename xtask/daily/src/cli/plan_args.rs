//! The options that shape a plan, the same for every command that plans. Each `shape` adds its
//! options to a request, and planning checks their values.

use xtask_core::sorted::SortedMap;

use clap_builder::builder::PossibleValue;
use clap_builder::{ArgMatches, Command, ValueEnum, value_parser};
use xtask_core::plan::{Building, Containers, Cycles, Isolation, KeptFlags, Ports, Request};

use super::arguments::{Arguments, all, flag, flatten, option, options};

/// Options that select the graph.
#[derive(Clone, Debug, Default)]
pub struct OverlayArgs {
    pub with: Vec<String>,
    pub cycles: Option<CyclesWhen>,
}

/// Options of commands that use the variables of services.
#[derive(Clone, Debug, Default)]
pub struct PlanArgs {
    pub overlays: OverlayArgs,
    pub env: Vec<String>,
}

/// Options of commands that plan a stack on this machine.
#[derive(Clone, Debug, Default)]
pub struct StackArgs {
    pub plan: PlanArgs,
    pub ports: Option<PortsWhen>,
    pub containers: Option<Vec<String>>,
    pub isolated: bool,
}

/// Options of commands that build.
#[derive(Clone, Debug, Default)]
pub struct BuildArgs {
    pub release: bool,
    pub profile: Option<String>,
    pub offline: bool,
    pub locked: bool,
}

/// Options of commands that use built programs.
#[derive(Clone, Debug, Default)]
pub struct ProgramArgs {
    pub no_build: bool,
    pub build: BuildArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortsWhen {
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CyclesWhen {
    Relax,
}

flatten!(OverlayArgs, PlanArgs, StackArgs, BuildArgs, ProgramArgs);

impl Arguments for OverlayArgs {
    fn add(command: Command) -> Command {
        command.args([
            options("with", "NAME", "Apply an overlay of the metadata"),
            option("cycles", "HOW", "What to do about cycles [default: refuse to start]")
                .value_parser(value_parser!(CyclesWhen)),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self { with: all(matches, "with"), cycles: matches.remove_one("cycles") }
    }
}

impl Arguments for PlanArgs {
    fn add(command: Command) -> Command {
        OverlayArgs::add(command).arg(
            options("env", "[SERVICE:]KEY=VALUE", "Set a variable for one or all services")
                .short('e'),
        )
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self { overlays: OverlayArgs::read(matches), env: all(matches, "env") }
    }
}

impl Arguments for StackArgs {
    fn add(command: Command) -> Command {
        PlanArgs::add(command).args([
            option("ports", "HOW", "Where ports come from [default: the metadata]")
                .value_parser(value_parser!(PortsWhen)),
            options(
                "containers",
                "SERVICE",
                "Run these services in containers, or without `=SERVICE` all whose program cargo \
                 builds",
            )
            .num_args(0..)
            .require_equals(true)
            .value_delimiter(','),
            flag("isolated", "Use free ports and ignore the shell's variables").hide(true),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            plan: PlanArgs::read(matches),
            ports: matches.remove_one("ports"),
            containers: matches.remove_many("containers").map(Iterator::collect),
            isolated: matches.get_flag("isolated"),
        }
    }
}

impl Arguments for BuildArgs {
    fn add(command: Command) -> Command {
        command.args(
            [
                flag("release", "Build in release mode").short('r').conflicts_with("profile"),
                option("profile", "NAME", "Build with this profile [default: dev]"),
                flag("offline", "Build without network access"),
                flag("locked", "Fail if Cargo.lock needs to change"),
            ]
            .map(|argument| argument.help_heading("Build")),
        )
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            release: matches.get_flag("release"),
            profile: matches.remove_one("profile"),
            offline: matches.get_flag("offline"),
            locked: matches.get_flag("locked"),
        }
    }
}

impl Arguments for ProgramArgs {
    fn add(command: Command) -> Command {
        BuildArgs::add(command.arg(flag("no-build", "Use the programs of an earlier build")))
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self { no_build: matches.get_flag("no-build"), build: BuildArgs::read(matches) }
    }
}

impl ValueEnum for PortsWhen {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let Self::Auto = self;
        Some(PossibleValue::new("auto").help("Free ports that the system chooses"))
    }
}

impl ValueEnum for CyclesWhen {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Relax]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let Self::Relax = self;
        let help = "Treat the smallest set of edges as `uses` for this start";
        Some(PossibleValue::new("relax").help(help))
    }
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
