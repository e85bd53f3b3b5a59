//! Builds images of programs, or finds an existing image by the hash of its content.
//!
//! An image belongs to a workspace, and its stacks share it. It contains no arguments and no
//! variables, because they differ between stacks: the container gets them.

use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::engine::{Engine, EngineError};
use super::linked::complaint;
use super::root_fs::{self, RootFs, RootFsError, System, USER};

/// The label with the short name of the image's workspace.
pub(crate) const WORKSPACE_LABEL: &str = "xtask.workspace";
/// The label with the service's name.
pub(crate) const SERVICE_LABEL: &str = "xtask.service";
/// The label with the hash of the image's content.
pub(crate) const CONTENT_LABEL: &str = "xtask.content";

/// How many images of a service are kept: other stacks may use an older one.
const KEEP: usize = 3;

/// Digits of the hash in an image's name.
const SHORT_HASH: usize = 16;

/// The content of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The root of the workspace.
    pub(crate) workspace: PathBuf,
    /// The name of the service.
    pub(crate) service: String,
    /// Its program, as cargo linked it.
    pub(crate) program: PathBuf,
    /// The base image; none for an empty one.
    pub(crate) base: Option<String>,
    /// The arguments of the program's own health check; empty if it has none.
    pub(crate) self_probe: Vec<String>,
}

/// An image that exists in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Its name with its tag.
    pub(crate) reference: String,
    /// The hash of its content.
    pub(crate) content: String,
    /// Its size as the engine reports it.
    pub(crate) size_bytes: u64,
    /// Whether this call built it.
    pub(crate) is_new: bool,
    /// Defects that do not keep the program from running.
    pub(crate) notes: Vec<String>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(transparent)]
    RootFs(#[from] RootFsError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "the image of `{service}` was built, but its program cannot be loaded in it: {message}"
    )]
    Unloadable { service: String, message: String },
    #[error("failed to write the build folder of an image")]
    Write(#[source] std::io::Error),
}

/// Finds the image with this content, or builds it and checks that its program can be loaded.
/// A build removes older unused images of the service.
///
/// # Errors
/// If it cannot be packed, the engine fails, or the program cannot be loaded.
pub(crate) async fn make(engine: &Engine, recipe: &Recipe) -> Result<Image, ImageError> {
    let system = if recipe.base.is_some() { System::OfBase } else { System::Whole };
    let program = recipe.program.clone();
    let packing = tokio::task::spawn_blocking(move || root_fs::pack(&program, system));
    let root = packing.await.map_err(|error| ImageError::Write(error.into()))??;
    let content = content(recipe, &root, base_id(engine, recipe).await.as_deref());
    let reference = reference(recipe, &content);
    let is_new = !engine.has_image(&reference).await?;
    if is_new {
        build(engine, recipe, &root, &content, &reference).await?;
    }
    let size = engine.query(&["image", "inspect", "--format", "{{.Size}}", &reference]).await?;
    let size_bytes = size.parse().unwrap_or_default();
    Ok(Image { reference, content, size_bytes, is_new, notes: root.notes })
}

/// Builds the image. It gets its name last, so every image with a name passed the check.
async fn build(
    engine: &Engine,
    recipe: &Recipe,
    root: &RootFs,
    content: &str,
    reference: &str,
) -> Result<(), ImageError> {
    let changes = changes(recipe, root, content);
    let id = match &recipe.base {
        // Podman's `import` cannot set a health check.
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
    if let Err(error) = check_loading(engine, recipe, root, &id).await {
        let _ = engine.try_run(&["image", "rm", &id]).await;
        return Err(error);
    }
    engine.run(&["tag", &id, reference]).await?;
    remove_old(engine, recipe).await;
    Ok(())
}

/// Builds an image on a base image, with a Dockerfile.
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
    // Only Docker's format has a health check. Podman would keep a layer for each line.
    let podman: &[&str] =
        if engine.is_podman() { &["--format=docker", "--layers=false"] } else { &[] };
    Ok(engine.run(&[&["build", "--quiet"], podman, &[&folder]].concat()).await?)
}

/// Runs the image's loader to list what the program needs, without running the program.
async fn check_loading(
    engine: &Engine,
    recipe: &Recipe,
    root: &RootFs,
    id: &str,
) -> Result<(), ImageError> {
    // A static program needs no libraries.
    let Some(loader) = &root.loader else { return Ok(()) };
    let loader = loader.to_string_lossy();
    let alone =
        ["run", "--rm", "--pull=never", "--network=none", "--read-only", "--no-healthcheck"];
    let list = ["--entrypoint", &loader, id, "--list", &root.program];
    let args = [&alone[..], &list].concat();
    let output = engine.try_run(&args).await?;
    match complaint(&output) {
        Some(message) => Err(ImageError::Unloadable { service: recipe.service.clone(), message }),
        None => Ok(()),
    }
}

/// The image's settings, as lines of a Dockerfile.
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
        format!("ENTRYPOINT {}", exec_form(std::slice::from_ref(&root.program))),
    ];
    if !recipe.self_probe.is_empty() {
        let command: Vec<String> =
            std::iter::once(&root.program).chain(&recipe.self_probe).cloned().collect();
        changes.push(format!(
            "HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD {}",
            exec_form(&command)
        ));
    }
    changes
}

/// Arguments in the form of a Dockerfile that uses no shell.
fn exec_form(args: &[String]) -> String {
    serde_json::to_string(args).unwrap_or_default()
}

/// The hash of all that the image is built from.
fn content(recipe: &Recipe, root: &RootFs, base_id: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(&root.tar);
    // The hash itself is one of the labels, and is left out.
    hash.update(changes(recipe, root, "").join("\n"));
    hash.update(recipe.base.as_deref().unwrap_or_default());
    hash.update(base_id.unwrap_or_default());
    let mut text = String::new();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The id of the base image, if it is stored here.
async fn base_id(engine: &Engine, recipe: &Recipe) -> Option<String> {
    let base = recipe.base.as_deref()?;
    engine.query(&["image", "inspect", "--format", "{{.Id}}", base]).await.ok()
}

/// The image's name. It begins with a registry on this machine, so no engine asks another
/// registry for it.
fn reference(recipe: &Recipe, content: &str) -> String {
    let workspace = recipe.workspace.file_name().unwrap_or_default().to_string_lossy();
    let (workspace, service) = (normalized(&workspace), normalized(&recipe.service));
    format!("localhost/{workspace}/{service}:{}", &content[..SHORT_HASH])
}

/// The name, with the letters that engines allow in names of images.
fn normalized(name: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let lower = name.to_lowercase();
    let parts = lower.split(|c: char| !fits(c)).filter(|part| !part.is_empty());
    let text = parts.collect::<Vec<_>>().join("-");
    if text.is_empty() { "workspace".to_string() } else { text }
}

/// Removes all but the newest images of a service. The engine keeps images in use.
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
    fn name_has_only_allowed_letters() {
        let name = reference(&recipe(), "0123456789abcdef0123");
        assert_eq!(name, "localhost/my-work-space/api-1:0123456789abcdef");
    }

    #[test]
    fn hash_depends_on_files_settings_and_base() {
        let first = content(&recipe(), &root(b"a"), None);
        assert_eq!(content(&recipe(), &root(b"a"), None), first);
        assert_ne!(content(&recipe(), &root(b"b"), None), first);
        let other = Recipe { self_probe: Vec::new(), ..recipe() };
        assert_ne!(content(&other, &root(b"a"), None), first);
        assert_ne!(content(&recipe(), &root(b"a"), Some("sha256:1")), first);
    }

    #[test]
    fn image_starts_and_checks_without_a_shell() {
        let lines = changes(&recipe(), &root(b""), "c").join("\n");
        assert!(lines.contains("\nENTRYPOINT [\"/app/api\"]\n"), "{lines}");
        assert!(lines.contains("CMD [\"/app/api\",\"--probe\",\"/ready \\\"x\\\"\"]"), "{lines}");
        assert!(lines.contains("USER 10001:10001"), "{lines}");
    }
}
