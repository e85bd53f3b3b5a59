//! What the containers of one stack share: engine, network, forwarders to processes, and
//! images.
//!
//! Each is created when the first container needs it, and carries the stack's labels. This
//! file starts no container.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use xtask_core::sorted::SortedMap;

use tokio::sync::OnceCell;
use xtask_core::stack::Artifact;
use xtask_core::stack::effect::{ImageWanted, Neighbour};

use super::ContainerError;
use super::cleanup::{self, AfterCleanup, EngineRecord, MARK_LABEL, STACK_LABEL};
use super::engine::{Engine, EngineError};
use super::forwarder::Forwarder;
use super::image::{self, Recipe, WORKSPACE_LABEL};
use super::subnet::Subnet;
use crate::effects::programs::start_of;
use crate::system::mark::Marks;
use crate::system::{say, socket};

#[derive(Debug)]
pub(crate) struct StackContainers {
    marks: Marks,
    workspace: String,
    record: PathBuf,
    data: PathBuf,
    engine: OnceCell<Engine>,
    network: OnceCell<Network>,
    /// By target; none if the process itself listens in the network.
    forwarders: tokio::sync::Mutex<SortedMap<SocketAddr, Option<Forwarder>>>,
    /// Image names by kept program, with the request that they fulfil.
    images: Mutex<SortedMap<String, (ImageWanted, String)>>,
    /// How many commands that create objects have not reported a result.
    pending: AtomicUsize,
    ended: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) host: Host,
}

/// How containers reach this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// At this address. This machine reaches containers at theirs.
    At(Subnet),
    /// By a name that the engine resolves: it runs in a virtual machine.
    Elsewhere,
    /// Not at all: without root the engine's networks are in a namespace of their own.
    Unreachable,
}

impl Network {
    /// The addresses of the network, if this machine has one.
    pub(crate) fn subnet(&self) -> Option<Subnet> {
        match self.host {
            Host::At(subnet) => Some(subnet),
            Host::Elsewhere | Host::Unreachable => None,
        }
    }
}

impl StackContainers {
    /// For the stack with this state folder. Creates nothing.
    pub(crate) fn of(state: &Path, marks: Marks) -> Self {
        let workspace = state.parent().and_then(Path::file_name).unwrap_or_default();
        let paths = xtask_control::StackPaths::at(state);
        Self {
            marks,
            workspace: workspace.to_string_lossy().into_owned(),
            record: paths.engine_record(),
            data: paths.data(),
            engine: OnceCell::new(),
            network: OnceCell::new(),
            forwarders: tokio::sync::Mutex::default(),
            images: Mutex::default(),
            pending: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Waits for a command that creates an object. One that timed out stays pending,
    /// because the engine may still obey it.
    pub(crate) async fn creating<T>(
        &self,
        command: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.pending.fetch_add(1, Ordering::Relaxed);
        let created = command.await;
        if !matches!(created, Err(EngineError::TimedOut { .. })) {
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
        created
    }

    pub(crate) async fn engine(&self) -> Result<&Engine, EngineError> {
        self.engine.get_or_try_init(Engine::find).await
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The labels of every object of this stack, as `NAME=VALUE`.
    pub(crate) fn labels(&self) -> [String; 3] {
        [
            format!("{STACK_LABEL}={}", self.marks.stack()),
            format!("{MARK_LABEL}={}", self.marks.label()),
            format!("{WORKSPACE_LABEL}={}", self.workspace),
        ]
    }

    pub(crate) fn name_of(&self, service: &str, run: u64) -> String {
        format!("{}{service}-{run}", cleanup::container_names(self.marks.stack()))
    }

    /// The stack's network, created at the first call.
    pub(crate) async fn network(&self) -> Result<&Network, ContainerError> {
        self.network.get_or_try_init(|| self.create_network()).await
    }

    /// The name of the image of a kept program, built unless it exists.
    pub(crate) async fn image(
        &self,
        service: &str,
        artifact: &Artifact,
        wanted: &ImageWanted,
    ) -> Result<String, ContainerError> {
        let engine = self.engine().await?;
        if let Some(reference) = self.known_image(artifact, wanted)
            && engine.has_image(&reference).await.is_ok_and(|exists| exists)
        {
            return Ok(reference);
        }
        let recipe = Recipe {
            workspace: PathBuf::from(&wanted.workspace),
            service: service.to_owned(),
            program: start_of(&artifact.path, &artifact.linked),
            base: wanted.base.clone(),
            self_probe: wanted.self_probe.clone(),
        };
        return_large_allocations();
        let image = image::make(engine, &recipe).await?;
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.insert(artifact.path.clone(), (wanted.clone(), image.reference.clone()));
        Ok(image.reference)
    }

    fn known_image(&self, artifact: &Artifact, wanted: &ImageWanted) -> Option<String> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, reference) = images.get(&artifact.path)?;
        (before == wanted).then(|| reference.clone())
    }

    /// Removes all objects of the stack from the engine. It blocks, and works once.
    pub(crate) fn end(&self) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let after = match self.pending.load(Ordering::Relaxed) {
            0 => AfterCleanup::DeleteRecord,
            _ => AfterCleanup::KeepRecord,
        };
        if let Some(why) = cleanup::remove(&self.record, &self.marks, after).failure {
            say(&format!("containers or networks may be left: {why}"));
        }
    }

    /// Makes the ports of a process reachable for containers.
    pub(crate) async fn forward_to(&self, neighbour: &Neighbour) -> Result<(), ContainerError> {
        let Some(subnet) = self.network().await?.subnet() else { return Ok(()) };
        let mut forwarders = self.forwarders.lock().await;
        for (host, port) in &neighbour.ports {
            let service = || neighbour.name.to_string();
            let failed =
                |source| ContainerError::Forward { service: service(), port: *port, source };
            let target = socket::resolve(host, *port).map_err(failed)?;
            if !forwarders.contains_key(&target) {
                let forwarder = Forwarder::start(subnet, target).await.map_err(failed)?;
                forwarders.insert(target, forwarder);
            }
        }
        Ok(())
    }

    /// Whether a supervisor of this stack has created a network with this name.
    async fn has_network(&self, engine: &Engine, name: &str) -> bool {
        for label in self.marks.labels() {
            if engine.has_network(&format!("{MARK_LABEL}={label}"), name).await {
                return true;
            }
        }
        false
    }

    async fn create_network(&self) -> Result<Network, ContainerError> {
        let engine = self.engine().await?;
        EngineRecord::write(engine, &self.record)
            .map_err(ContainerError::io("write", &self.record))?;
        let name = format!("xtask-{}", self.marks.stack());
        let labels = self.labels();
        let labels = labels.iter().flat_map(|label| ["--label", label.as_str()]);
        let create: Vec<_> =
            ["network", "create"].into_iter().chain(labels).chain([&*name]).collect();
        if let Err(source) = self.creating(engine.run(&create)).await
            && !self.has_network(engine, &name).await
        {
            let engine = engine.program().to_path_buf();
            return Err(ContainerError::CreateNetwork { network: name, engine, source });
        }
        let host = if !cfg!(target_os = "linux") {
            Host::Elsewhere
        } else if engine.is_rootless().await? {
            Host::Unreachable
        } else {
            let subnet = engine.subnet(&name).await?;
            Host::At(subnet.ok_or_else(|| ContainerError::NoGateway { network: name.clone() })?)
        };
        Ok(Network { name, host })
    }
}

/// Packing an image allocates as much memory as the image has. With a fixed threshold the
/// allocator returns it to the system, where it would otherwise keep it for the next time.
fn return_large_allocations() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call sets a number that later allocations read.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1024 * 1024);
    }
}
