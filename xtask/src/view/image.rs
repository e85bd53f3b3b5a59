//! `image`: names and sizes of images, for people and programs.

use serde::Serialize;
use xtask_core::terms::Name;

use super::style::BOLD;
use super::table::{Cell, table as columns};

/// One image. As JSON it is what `image --json` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ImageRow {
    /// The service.
    pub(crate) service: Name,
    /// The image's name with its tag, which is the beginning of `content`.
    pub(crate) image: String,
    /// The hash of everything that it is made of.
    pub(crate) content: String,
    /// Its size in the engine's store.
    pub(crate) size_bytes: u64,
    /// Whether it was made now; else it was there with this content.
    pub(crate) new: bool,
    /// What is not as it should be.
    pub(crate) notes: Vec<String>,
}

/// The images for people.
pub(crate) fn table(rows: &[ImageRow]) -> String {
    let head = ["SERVICE", "IMAGE", "SIZE"].map(Cell::from).to_vec();
    let row = |row: &ImageRow| {
        vec![
            Cell::styled(&*row.service, BOLD),
            row.image.as_str().into(),
            format!("{}.{} MB", row.size_bytes / 1_000_000, row.size_bytes % 1_000_000 / 100_000)
                .into(),
        ]
    };
    columns(&std::iter::once(head).chain(rows.iter().map(row)).collect::<Vec<_>>())
}
