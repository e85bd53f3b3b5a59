//! Images of built programs: found by their content, else made, tried and named.
//!
//! An image belongs to a workspace, not to a stack: stacks side by side share it. It holds
//! no arguments and no variables, which differ between stacks; who runs it gives them.

use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::engine::{Engine, EngineError};
use super::linked::complaint;
use super::root_fs::{self, RootFs, RootFsError, System, USER};

/// The label that tells whose image it is: the short name of a workspace.
pub(crate) const WORKSPACE_LABEL: &str = "xtask.workspace";
/// The label with the service's name.
pub(crate) const SERVICE_LABEL: &str = "xtask.service";
/// The label with the hash of everything that the image is made of.
pub(crate) const CONTENT_LABEL: &str = "xtask.content";

/// Images of a service that are kept: other stacks may be about to use an older one.
const KEEP: usize = 3;

/// Letters of the hash that stand in a name.
const SHORT_HASH: usize = 16;

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The workspace's root.
    pub(crate) workspace: PathBuf,
    /// The service.
    pub(crate) service: String,
    /// Its program, as cargo linked it.
    pub(crate) program: PathBuf,
    /// The image to build upon; none for an empty one.
    pub(crate) base: Option<String>,
    /// The arguments with which the program asks itself whether it is well; none if it cannot.
    pub(crate) self_probe: Vec<String>,
}

/// An image that is there and can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its name with its tag.
    pub(crate) reference: String,
    /// The hash of its content.
    pub(crate) content: String,
    /// Its size in the engine's store.
    pub(crate) size_bytes: u64,
    /// Whether it was there before.
    pub(crate) made: Made,
    /// What is not as it should be, and does not stand in the way.
    pub(crate) notes: Vec<String>,
}

/// Whether an image had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It was there with this content.
    Before,
    /// It was made.
    Now,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// Its files cannot be packed.
    #[error(transparent)]
    RootFs(#[from] RootFsError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was made, and its program cannot be loaded in it.
    #[error("the image of `{service}` was made, but its program cannot be loaded in it: {said}")]
    Unloadable {
        /// The service.
        service: String,
        /// The words of the loader, or of the engine.
        said: String,
    },
    /// The folder for a build cannot be written.
    #[error("cannot write what an image is built from")]
    Write(#[source] std::io::Error),
}

/// Finds the image of this content, or makes it and tries whether its program can be loaded.
/// Older images of the service that nothing uses are removed.
///
/// # Errors
/// When it cannot be packed, the engine refuses, or the program cannot be loaded.
pub(crate) async fn make(engine: &Engine, recipe: &Recipe) -> Result<Image, ImageError> {
    let system = if recipe.base.is_some() { System::OfBase } else { System::Whole };
    let program = recipe.program.clone();
    let packing = tokio::task::spawn_blocking(move || root_fs::pack(&program, system));
    let root = packing.await.map_err(|error| ImageError::Write(error.into()))??;
    let content = content(recipe, &root, base_id(engine, recipe).await.as_deref());
    let reference = reference(recipe, &content);
    let made = if engine.has_image(&reference).await? {
        Made::Before
    } else {
        build(engine, recipe, &root, &content, &reference).await?;
        Made::Now
    };
    let size = engine.query(&["image", "inspect", "--format", "{{.Size}}", &reference]).await?;
    let size_bytes = size.parse().unwrap_or_default();
    Ok(Image { reference, content, size_bytes, made, notes: root.notes })
}

/// Makes the image. It gets its name last, so that whatever has a name was tried.
async fn build(
    engine: &Engine,
    recipe: &Recipe,
    root: &RootFs,
    content: &str,
    reference: &str,
) -> Result<(), ImageError> {
    let changes = changes(recipe, root, content);
    let id = match &recipe.base {
        // What it imports cannot have a health check.
        None if engine.is_podman() => on_base(engine, "scratch", root, &changes).await?,
        None => {
            let mut args = vec!["import"];
            for change in &changes {
                args.extend(["--change", change]);
            }
            args.push("-");
            engine.run_with_input(&args, &root.tar).await?
        }
        Some(base) => on_base(engine, base, root, &changes).await?,
    };
    if let Err(error) = try_loading(engine, recipe, root, &id).await {
        let _ = engine.try_run(&["image", "rm", &id]).await;
        return Err(error);
    }
    engine.run(&["tag", &id, reference]).await?;
    remove_old(engine, recipe).await;
    Ok(())
}

/// Builds upon an image that the user has named.
async fn on_base(
    engine: &Engine,
    base: &str,
    root: &RootFs,
    changes: &[String],
) -> Result<String, ImageError> {
    let folder = tempfile::tempdir().map_err(ImageError::Write)?;
    let file = format!("FROM {base}\nADD root.tar /\n{}\n", changes.join("\n"));
    std::fs::write(folder.path().join("Dockerfile"), file).map_err(ImageError::Write)?;
    std::fs::write(folder.path().join("root.tar"), &root.tar).map_err(ImageError::Write)?;
    let folder = folder.path().to_string_lossy();
    // Other images than those of Docker have no health check, and a layer a line is kept.
    let own: &[&str] =
        if engine.is_podman() { &["--format=docker", "--layers=false"] } else { &[] };
    Ok(engine.run(&[&["build", "--quiet"], own, &[&folder]].concat()).await?)
}

/// Lets the loader of the image find everything that the program needs, without running it.
async fn try_loading(
    engine: &Engine,
    recipe: &Recipe,
    root: &RootFs,
    id: &str,
) -> Result<(), ImageError> {
    // A static program needs nothing that could be missing.
    let Some(loader) = &root.loader else { return Ok(()) };
    let loader = loader.to_string_lossy();
    let alone =
        ["run", "--rm", "--pull=never", "--network=none", "--read-only", "--no-healthcheck"];
    let list = ["--entrypoint", &loader, id, "--list", &root.program];
    let args = [&alone[..], &list].concat();
    let output = engine.try_run(&args).await?;
    match complaint(&output) {
        Some(said) => Err(ImageError::Unloadable { service: recipe.service.clone(), said }),
        None => Ok(()),
    }
}

/// What the image says of itself, as lines of a Dockerfile.
fn changes(recipe: &Recipe, root: &RootFs, content: &str) -> Vec<String> {
    let mut label = String::from("LABEL");
    let labels = [
        (WORKSPACE_LABEL, xtask_client::workspace_name(&recipe.workspace)),
        (SERVICE_LABEL, recipe.service.clone()),
        (CONTENT_LABEL, content.to_string()),
    ];
    for (name, value) in labels {
        let _ = write!(label, " {name}={value}");
    }
    let mut changes = vec![
        label,
        format!("USER {USER}:{USER}"),
        format!("ENTRYPOINT {}", words(std::slice::from_ref(&root.program))),
    ];
    if !recipe.self_probe.is_empty() {
        let command: Vec<String> =
            std::iter::once(&root.program).chain(&recipe.self_probe).cloned().collect();
        changes.push(format!(
            "HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD {}",
            words(&command)
        ));
    }
    changes
}

/// Words as a Dockerfile wants them where no shell may read them.
fn words(words: &[String]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

/// The hash of everything that the image is made of.
fn content(recipe: &Recipe, root: &RootFs, base_id: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(&root.tar);
    // What is not known yet does not count: the hash itself is one of the labels.
    hash.update(changes(recipe, root, "").join("\n"));
    hash.update(recipe.base.as_deref().unwrap_or_default());
    hash.update(base_id.unwrap_or_default());
    let mut text = String::new();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Which image the name of the base stands for now, if it is here.
async fn base_id(engine: &Engine, recipe: &Recipe) -> Option<String> {
    let base = recipe.base.as_deref()?;
    engine.query(&["image", "inspect", "--format", "{{.Id}}", base]).await.ok()
}

/// The image's name. It begins like a registry on this machine, so that no engine looks
/// for it in the world.
fn reference(recipe: &Recipe, content: &str) -> String {
    let workspace = recipe.workspace.file_name().unwrap_or_default().to_string_lossy();
    let (workspace, service) = (spelled(&workspace), spelled(&recipe.service));
    format!("localhost/{workspace}/{service}:{}", &content[..SHORT_HASH])
}

/// A name in the letters that names of images may have.
fn spelled(name: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let lower = name.to_lowercase();
    let parts = lower.split(|c: char| !fits(c)).filter(|part| !part.is_empty());
    let text = parts.collect::<Vec<_>>().join("-");
    if text.is_empty() { "workspace".to_string() } else { text }
}

/// Removes all but the newest images of a service. The engine keeps what is in use.
async fn remove_old(engine: &Engine, recipe: &Recipe) {
    let workspace =
        format!("label={WORKSPACE_LABEL}={}", xtask_client::workspace_name(&recipe.workspace));
    let service = format!("label={SERVICE_LABEL}={}", recipe.service);
    let list =
        ["image", "ls", "--quiet", "--no-trunc", "--filter", &workspace, "--filter", &service];
    let Ok(ids) = engine.run(&list).await else { return };
    for id in ids.lines().skip(KEEP) {
        let _ = engine.try_run(&["image", "rm", id]).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            workspace: PathBuf::from("/w/My Work_space"),
            service: "Api-1".into(),
            program: PathBuf::from("/w/target/api"),
            base: None,
            self_probe: vec!["--probe".into(), "/ready \"x\"".into()],
        }
    }

    fn root(bytes: &[u8]) -> RootFs {
        RootFs { tar: bytes.into(), program: "/app/api".into(), loader: None, notes: Vec::new() }
    }

    #[test]
    fn a_name_has_the_letters_that_engines_allow() {
        let name = reference(&recipe(), "0123456789abcdef0123");
        assert_eq!(name, "localhost/my-work-space/api-1:0123456789abcdef");
    }

    #[test]
    fn the_hash_follows_everything_that_the_image_is_made_of() {
        let first = content(&recipe(), &root(b"a"), None);
        assert_eq!(content(&recipe(), &root(b"a"), None), first);
        assert_ne!(content(&recipe(), &root(b"b"), None), first);
        let other = Recipe { self_probe: Vec::new(), ..recipe() };
        assert_ne!(content(&other, &root(b"a"), None), first);
        assert_ne!(content(&recipe(), &root(b"a"), Some("sha256:1")), first);
    }

    #[test]
    fn the_program_is_started_without_a_shell_and_asks_itself_whether_it_is_well() {
        let lines = changes(&recipe(), &root(b""), "c").join("\n");
        assert!(lines.contains("\nENTRYPOINT [\"/app/api\"]\n"), "{lines}");
        assert!(lines.contains("CMD [\"/app/api\",\"--probe\",\"/ready \\\"x\\\"\"]"), "{lines}");
        assert!(lines.contains("USER 10001:10001"), "{lines}");
    }
}
