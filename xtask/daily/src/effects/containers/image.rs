//! Builds images of programs, or finds an existing image by the hash of its content.
//!
//! An image belongs to a workspace, and its stacks share it. It contains no arguments and no
//! variables, because they differ between stacks: the container gets them.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use xtask_core::stack::LinkedProgram;

use super::engine::Engine;
use super::error::ImageError;
use super::linked::complaint;
use super::root_fs::{self, RootFs, System, USER};
use crate::effects::process::environment::LIBRARY_PATH;
use crate::system::fresh_folder::FreshFolder;
use crate::system::task;

/// The label with the short name of the image's workspace.
pub const WORKSPACE_LABEL: &str = "xtask.workspace";
pub const SERVICE_LABEL: &str = "xtask.service";
pub const CONTENT_LABEL: &str = "xtask.content";

/// How many images of a service are kept: other stacks may use an older one.
const KEEP: usize = 3;

const SHORT_HASH: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub workspace: PathBuf,
    pub service: String,
    pub program: LinkedProgram,
    /// The base image; none for an empty one.
    pub base: Option<String>,
    /// The arguments of the program's own health check; empty if it has none.
    pub self_probe: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name with its tag.
    pub reference: String,
    pub content: String,
    /// Its size as the engine reports it.
    pub size_bytes: u64,
    pub is_new: bool,
    /// Defects that do not keep the program from running.
    pub notes: Vec<String>,
}

/// Finds the image with this content, or builds it and checks that its program can be loaded.
/// A build removes older unused images of the service.
pub async fn make(engine: &Engine, recipe: &Recipe) -> Result<Image, ImageError> {
    let system = if recipe.base.is_some() { System::OfBase } else { System::Whole };
    let program = recipe.program.clone();
    let packing = task::spawn_blocking(move || root_fs::pack(&program, system));
    let root = packing.await.map_err(|error| ImageError::Pack(error.into()))??;
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
    // Podman's `import` cannot set a health check.
    let scratch = engine.is_podman().then_some("scratch");
    let id = match recipe.base.as_deref().or(scratch) {
        Some(base) => on_base(engine, base, root, &changes).await?,
        None => {
            let changes = changes.iter().flat_map(|change| ["--change", change]);
            let args: Vec<&str> = ["import"].into_iter().chain(changes).chain(["-"]).collect();
            engine.run_with_input(&args, &root.tar).await?
        }
    };
    if let Err(error) = check_loading(engine, recipe, root, &id).await {
        let _ = engine.try_run(&["image", "rm", &id]).await;
        return Err(error);
    }
    engine.run(&["tag", &id, reference]).await?;
    remove_old(engine, recipe).await;
    Ok(())
}

async fn on_base(
    engine: &Engine,
    base: &str,
    root: &RootFs,
    changes: &[String],
) -> Result<String, ImageError> {
    let folder = FreshFolder::new().map_err(ImageError::Write)?;
    let file = format!("FROM {base}\nADD root.tar /\n{}\n", changes.join("\n"));
    std::fs::write(folder.path().join("Dockerfile"), file).map_err(ImageError::Write)?;
    std::fs::write(folder.path().join("root.tar"), &root.tar).map_err(ImageError::Write)?;
    let folder = folder.path().to_string_lossy();
    let mut args = vec!["build", "--quiet"];
    if engine.is_podman() {
        // Only Docker's format has a health check. Podman would keep a layer for each line.
        args.extend(["--format=docker", "--layers=false"]);
    }
    args.push(&folder);
    Ok(engine.run(&args).await?)
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
        Some(message) => Err(ImageError::Incomplete { service: recipe.service.clone(), message }),
        None => Ok(()),
    }
}

/// The image's settings, as lines of a Dockerfile.
fn changes(recipe: &Recipe, root: &RootFs, content: &str) -> Vec<String> {
    let workspace = xtask_control::workspace_name(&recipe.workspace);
    let service = &recipe.service;
    let program = std::slice::from_ref(&root.program);
    let mut changes = vec![
        format!(
            "LABEL {WORKSPACE_LABEL}={workspace} {SERVICE_LABEL}={service} {CONTENT_LABEL}={content}"
        ),
        format!("USER {USER}:{USER}"),
        format!("ENTRYPOINT {}", exec_form(program)),
    ];
    if let Some(folder) = root.library_folder {
        changes.push(format!("ENV {LIBRARY_PATH}={folder}"));
    }
    if !recipe.self_probe.is_empty() {
        let command = [program, &*recipe.self_probe].concat();
        changes.push(format!(
            "HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD {}",
            exec_form(&command)
        ));
    }
    changes
}

/// The form of a Dockerfile that uses no shell.
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
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
        format!("label={WORKSPACE_LABEL}={}", xtask_control::workspace_name(&recipe.workspace));
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
            program: "/w/target/api".to_owned().into(),
            base: None,
            self_probe: vec!["--probe".into(), "/ready \"x\"".into()],
        }
    }

    fn root(bytes: &[u8]) -> RootFs {
        RootFs {
            tar: bytes.into(),
            program: "/app/api".into(),
            loader: None,
            library_folder: None,
            notes: Vec::new(),
        }
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
