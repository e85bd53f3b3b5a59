//! The programs and the declared services of a workspace, from `cargo metadata`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};
use serde_json::Value as Json;
use xtask::workspace::{Error, no_cargo};

/// A binary of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) package: String,
    /// Relative to the workspace root.
    pub(crate) manifest: PathBuf,
    pub(crate) bin: String,
    /// The file with its `main`.
    pub(crate) main: PathBuf,
}

/// What `init`, `import` and `new` need to know about a workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// The binaries of packages that declare no service.
    pub(crate) programs: Vec<Program>,
    pub(crate) services: BTreeMap<String, Declared>,
    /// The names of all packages.
    pub(crate) packages: Vec<String>,
}

/// A service that the metadata declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Its fixed ports.
    ports: Vec<u16>,
    /// Whether it answers HTTP at an address.
    pub(crate) serves_http: bool,
}

impl Workspace {
    /// Asks cargo for the workspace around `start`, or that of a manifest.
    pub(crate) fn read(start: &Path, manifest: Option<&Path>) -> Result<Self, Error> {
        let mut command = MetadataCommand::new();
        command.no_deps().current_dir(start);
        if let Some(path) = manifest {
            command.manifest_path(path);
        }
        match command.exec() {
            Ok(metadata) => Ok(Self::of(&metadata)),
            Err(cargo_metadata::Error::CargoMetadata { stderr }) => {
                let message = stderr.trim();
                let message = message.strip_prefix("error: ").unwrap_or(message).to_owned();
                Err(Error::Cargo { message })
            }
            Err(cargo_metadata::Error::Io(source)) => Err(no_cargo(source)),
            Err(other) => Err(Error::Cargo { message: other.to_string() }),
        }
    }

    fn of(metadata: &Metadata) -> Self {
        let root = metadata.workspace_root.as_std_path();
        let mut services = BTreeMap::new();
        let mut programs = Vec::new();
        let packages = metadata.workspace_packages();
        let packages = packages.iter().map(|package| package.name.to_string()).collect();
        for package in metadata.workspace_packages() {
            let only = package.metadata.get("service");
            let several = package.metadata.get("services").and_then(Json::as_object);
            if let Some(service) = only {
                let name = service.get("name").and_then(Json::as_str);
                let name = name.unwrap_or(package.name.as_str()).to_owned();
                services.insert(name, Declared::of(service));
            }
            for (name, service) in several.into_iter().flatten() {
                services.insert(name.clone(), Declared::of(service));
            }
            if only.is_none() && several.is_none() && !is_tool(package) {
                programs.extend(binaries(root, package));
            }
        }
        let own = metadata.workspace_metadata.get("services").and_then(Json::as_object);
        for (name, service) in own.into_iter().flatten() {
            let more = Declared::of(service);
            let declared: &mut Declared = services.entry(name.clone()).or_default();
            declared.ports.extend(more.ports);
            declared.serves_http |= more.serves_http;
        }
        Self { root: root.to_path_buf(), programs, services, packages }
    }

    /// A port that no declared service has: the next one after the highest of those that answer
    /// HTTP. Databases have ports of another range.
    pub(crate) fn free_port(&self) -> u16 {
        let all: Vec<u16> = self.services.values().flat_map(|other| other.ports.clone()).collect();
        let http = self.services.values().filter(|other| other.serves_http);
        let highest = http.flat_map(|other| &other.ports).max();
        let first = highest.and_then(|port| port.checked_add(1)).unwrap_or(3000);
        (first..=u16::MAX).find(|port| !all.contains(port)).unwrap_or(3000)
    }
}

/// Whether the package is this tool itself, or its launcher.
fn is_tool(package: &Package) -> bool {
    let name = package.name.as_str();
    name == "xtask" || name == env!("CARGO_PKG_NAME") || name.starts_with("xtask-")
}

fn binaries(root: &Path, package: &Package) -> Vec<Program> {
    let manifest = package.manifest_path.as_std_path();
    let manifest = manifest.strip_prefix(root).unwrap_or(manifest);
    let targets = package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Bin));
    let program = |target: &cargo_metadata::Target| Program {
        package: package.name.to_string(),
        manifest: manifest.to_path_buf(),
        bin: target.name.clone(),
        main: target.src_path.clone().into_std_path_buf(),
    };
    targets.map(program).collect()
}

impl Declared {
    fn of(service: &Json) -> Self {
        let has_port = service.get("port").is_some() || service.get("ports").is_some();
        let is_job = service.get("kind").and_then(Json::as_str) == Some("job");
        let url = service.get("url").and_then(Json::as_str);
        let is_http = url.is_none_or(|url| url.starts_with("http"));
        Self { ports: ports(service), serves_http: has_port && !is_job && is_http }
    }
}

/// The numbers in `port` and `ports`.
fn ports(service: &Json) -> Vec<u16> {
    let several = service.get("ports").and_then(Json::as_object);
    let all =
        service.get("port").into_iter().chain(several.into_iter().flat_map(|all| all.values()));
    all.filter_map(|port| u16::try_from(port.as_u64()?).ok()).filter(|port| *port != 0).collect()
}
