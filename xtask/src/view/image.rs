//! `image`: names and sizes of images, as a table and as JSON.

use serde::Serialize;
use xtask_core::terms::Name;

use xtask::view::style::BOLD;
use xtask::view::table::{Cell, table as columns};

/// One image, as `image --json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ImageRow {
    pub(crate) service: Name,
    /// The image's name with its tag, the beginning of `content`.
    pub(crate) image: String,
    pub(crate) content: String,
    /// Size in the engine's store, in bytes.
    pub(crate) size_bytes: u64,
    /// Whether this command created it.
    pub(crate) new: bool,
    pub(crate) notes: Vec<String>,
}

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
