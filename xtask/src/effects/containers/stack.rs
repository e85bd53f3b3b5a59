//! What the containers of one stack have in common: the engine, their network, the forwarders
//! to processes, and the images that were made.
//!
//! Everything is made when the first container needs it, and carries the stack's label.
//! It starts no container.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::OnceCell;
use xtask_client::chain;
use xtask_core::stack::Artifact;
use xtask_core::stack::effect::{ImageWanted, Neighbour};

use super::cleanup::{self, AfterCleanup, EngineRecord, STACK_LABEL};
use super::engine::{Engine, EngineError};
use super::forwarder::Forwarder;
use super::image::{self, Recipe, WORKSPACE_LABEL};
use crate::system::{say, socket};

/// The containers of one stack, as far as they share things.
#[derive(Debug)]
pub(crate) struct StackContainers {
    /// The value of the stack's label.
    mark: String,
    /// The value of the workspace's label.
    workspace: String,
    note: PathBuf,
    data: PathBuf,
    engine: OnceCell<Engine>,
    network: OnceCell<Network>,
    /// By the target that they lead to; none where none was needed.
    forwarders: tokio::sync::Mutex<BTreeMap<SocketAddr, Option<Forwarder>>>,
    /// Images by the kept program that they hold, with what was wanted of them.
    images: Mutex<BTreeMap<String, (ImageWanted, String)>>,
    /// How many things the engine was told to make and has not said to be made, or not.
    ordered: AtomicUsize,
    ended: AtomicBool,
}

/// The network of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its name.
    pub(crate) name: String,
    /// Where this machine is for the containers in it.
    pub(crate) host: Host,
}

/// How containers find this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// At this address, and it finds them at theirs.
    At(IpAddr),
    /// Only the engine knows: it runs in a machine of its own.
    Elsewhere,
    /// Not at all: without root the engine's networks are in a namespace that is closed.
    Hidden,
}

impl Network {
    /// The address of this machine, if it has one there.
    pub(crate) fn gateway(&self) -> Option<IpAddr> {
        match self.host {
            Host::At(address) => Some(address),
            Host::Elsewhere | Host::Hidden => None,
        }
    }
}

impl StackContainers {
    /// For the stack whose folder this is. Nothing is made or looked for yet.
    pub(crate) fn of(state: &Path, mark: &str) -> Self {
        let workspace = state.parent().and_then(Path::file_name).unwrap_or_default();
        let paths = xtask_client::StackPaths::at(state);
        Self {
            mark: mark.to_owned(),
            workspace: workspace.to_string_lossy().into_owned(),
            note: paths.engine_record(),
            data: paths.data(),
            engine: OnceCell::new(),
            network: OnceCell::new(),
            forwarders: tokio::sync::Mutex::default(),
            images: Mutex::default(),
            ordered: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Waits for a command that makes something of this stack. One that is given up before it
    /// has ended may be obeyed yet.
    pub(crate) async fn making<T>(
        &self,
        command: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.ordered.fetch_add(1, Ordering::Relaxed);
        let made = command.await;
        if !matches!(made, Err(EngineError::TimedOut { .. })) {
            self.ordered.fetch_sub(1, Ordering::Relaxed);
        }
        made
    }

    /// The engine.
    pub(crate) async fn engine(&self) -> Result<&Engine, String> {
        let find = || async { Engine::find().map_err(|error| error.to_string()) };
        self.engine.get_or_try_init(find).await
    }

    /// The stack's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The labels of everything that is made for this stack, as `NAME=VALUE`.
    pub(crate) fn labels(&self) -> [String; 2] {
        [format!("{STACK_LABEL}={}", self.mark), format!("{WORKSPACE_LABEL}={}", self.workspace)]
    }

    /// The name of the container of a run.
    pub(crate) fn name_of(&self, service: &str, run: u64) -> String {
        format!("{}{service}-{run}", cleanup::container_names(&self.mark))
    }

    /// The stack's network, made if it is not there.
    pub(crate) async fn network(&self) -> Result<&Network, String> {
        self.network.get_or_try_init(|| self.make_network()).await
    }

    /// The image of a kept program: made, or still there.
    ///
    /// # Errors
    /// One line.
    pub(crate) async fn image(
        &self,
        service: &str,
        artifact: &Artifact,
        wanted: &ImageWanted,
    ) -> Result<String, String> {
        let engine = self.engine().await?;
        let known = self.known_image(artifact, wanted);
        if let Some(reference) = known
            && engine.has_image(&reference).await.is_ok_and(|there| there)
        {
            return Ok(reference);
        }
        let recipe = Recipe {
            workspace: PathBuf::from(&wanted.workspace),
            service: service.to_owned(),
            program: PathBuf::from(&artifact.path),
            base: wanted.base.clone(),
            self_probe: wanted.self_probe.clone(),
        };
        give_large_memory_back();
        let made = image::make(engine, &recipe).await.map_err(|error| chain(&error))?;
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.insert(artifact.path.clone(), (wanted.clone(), made.reference.clone()));
        Ok(made.reference)
    }

    fn known_image(&self, artifact: &Artifact, wanted: &ImageWanted) -> Option<String> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, reference) = images.get(&artifact.path)?;
        (before == wanted).then(|| reference.clone())
    }

    /// Removes whatever the stack has in the engine, if it has anything there. It waits for the
    /// engine, and is done once.
    pub(crate) fn end(&self) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let then = match self.ordered.load(Ordering::Relaxed) {
            0 => AfterCleanup::DeleteRecord,
            _ => AfterCleanup::KeepRecord,
        };
        if let Some(why) = cleanup::remove(&self.note, &self.mark, then).kept {
            say(&format!("containers or networks may be left: {why}"));
        }
    }

    /// Makes the ports of a process reachable for containers.
    pub(crate) async fn forward_to(&self, neighbour: &Neighbour) -> Result<(), String> {
        let Some(gateway) = self.network().await?.gateway() else { return Ok(()) };
        let mut forwarders = self.forwarders.lock().await;
        for (host, port) in &neighbour.ports {
            let failed = |error| format!("no relay to `{}` port {port}: {error}", neighbour.name);
            let target = socket::resolve(host, *port).map_err(failed)?;
            if let Entry::Vacant(vacant) = forwarders.entry(target) {
                vacant.insert(Forwarder::start(gateway, target).await.map_err(failed)?);
            }
        }
        Ok(())
    }

    async fn make_network(&self) -> Result<Network, String> {
        let engine = self.engine().await?;
        EngineRecord::write(engine, &self.note)
            .map_err(|error| format!("cannot write `{}`: {error}", self.note.display()))?;
        let name = format!("xtask-{}", self.mark);
        let [stack, workspace] = self.labels();
        let create = ["network", "create", "--label", &stack, "--label", &workspace, &name];
        if let Err(error) = self.making(engine.run(&create)).await
            && !has_network(engine, &stack, &name).await
        {
            let program = engine.program().display();
            return Err(format!("{error}\nhint: `{program} network rm {name}`"));
        }
        let host = if !cfg!(target_os = "linux") {
            Host::Elsewhere
        } else if is_rootless(engine).await? {
            Host::Hidden
        } else {
            Host::At(gateway(engine, &name).await?)
        };
        Ok(Network { name, host })
    }
}

/// Packing an image takes as much memory as the image has, and a supervisor lives long: an
/// allocator that learns from large pieces would keep them all for the next time.
fn give_large_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call sets a number that later allocations look at.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1024 * 1024);
    }
}

/// Whether a network of ours is there already: of a start that failed half way, or because
/// something in it could not be removed.
async fn has_network(engine: &Engine, label: &str, name: &str) -> bool {
    let filter = format!("label={label}");
    let list = ["network", "ls", "--filter", &filter, "--format", "{{.Name}}"];
    engine.query(&list).await.is_ok_and(|names| names.lines().any(|line| line == name))
}

/// Whether networks are in a namespace of the engine's own, as they are without root.
async fn is_rootless(engine: &Engine) -> Result<bool, String> {
    let format = match engine.is_podman() {
        true => "{{if .Host.Security.Rootless}}rootless{{end}}",
        false => "{{.SecurityOptions}}",
    };
    let said = engine.query(&["info", "--format", format]).await;
    said.map(|said| said.contains("rootless")).map_err(|error| error.to_string())
}

/// The address of this machine in a network.
async fn gateway(engine: &Engine, network: &str) -> Result<IpAddr, String> {
    let format = match engine.is_podman() {
        true => "{{range .Subnets}}{{.Gateway}} {{end}}",
        false => "{{range .IPAM.Config}}{{.Gateway}} {{end}}",
    };
    let said = engine.query(&["network", "inspect", "--format", format, network]).await;
    let said = said.map_err(|error| error.to_string())?;
    let mut addresses = said.split_whitespace().filter_map(|word| word.parse::<IpAddr>().ok());
    addresses.find(IpAddr::is_ipv4).ok_or_else(|| format!("network `{network}` has no gateway"))
}
