//! What a key of the metadata is, and the macro that declares tables of keys.
//!
//! [`keys`](super::keys) declares each key once. Its struct field, its reading, its merging
//! and its line in `docs/metadata.md` follow from that.

use alloc::string::String;
use alloc::vec::Vec;

use super::TextAt;
use super::reader::Reader;
use super::value::{Table, Value};

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key as written in a manifest.
    pub name: &'static str,
    /// The values that it accepts.
    pub takes: Type,
    /// The default in TOML; empty if there is none, or if `doc` describes it.
    pub default: &'static str,
    /// How an overlay changes the value.
    pub merge: Merge,
    /// The meaning, in sentences of Markdown.
    pub doc: &'static str,
}

/// The values that a key accepts.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// Text, possibly with `${...}`.
    Text,
    /// A list of texts.
    Texts,
    /// Text, or a list of texts.
    TextOrTexts,
    /// A table from names to texts.
    TextTable,
    /// `true` or `false`.
    Boolean,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Text with a number and a unit of time, such as `"10s"`.
    Duration,
    /// Text with a number and `K`, `M` or `G`.
    Size,
    /// A whole number from the first to the second, both included.
    Count(u32, u32),
    /// A number with a fraction.
    Number,
    /// A port number; 0 for any free port.
    Port,
    /// A table from names to port numbers.
    Ports,
    /// A list of names, or a table from names to conditions.
    Dependencies,
    /// HTTP statuses, as one number or a list.
    Statuses,
    /// A table of these keys.
    Table(&'static [Key]),
}

/// How an overlay changes the value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The later value replaces the earlier one.
    Replace,
    /// Each key of the table merges alone.
    ByKey,
    /// The names of both are united; the later entry of a name wins.
    Unite,
}

/// The names of a list of choices.
pub(super) const fn names<T: Copy, const N: usize>(
    choices: &[(&'static str, T); N],
) -> [&'static str; N] {
    let mut names = [""; N];
    let mut index = 0;
    while index < N {
        names[index] = choices[index].0;
        index += 1;
    }
    names
}

/// The values of a table whose keys are declared.
pub(crate) trait Declared: Default {
    const KEYS: &'static [Key];

    /// Reads one key; ignores an unknown one.
    fn read(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value);

    /// Reads every key.
    fn read_all(reader: &mut Reader<'_>, table: &Table) -> Self {
        let mut out = Self::default();
        for (key, value) in &table.entries {
            out.read(reader, &key.name, value);
        }
        out
    }

    /// The names of the keys.
    fn names() -> Vec<&'static str> {
        Self::KEYS.iter().map(|key| key.name).collect()
    }
}

/// Reads a table of declared keys, and reports its unknown ones.
pub(crate) fn table<T: Declared>(reader: &mut Reader<'_>, key: &str, value: &Value) -> T {
    let Some(table) = reader.table(key, value) else { return T::default() };
    reader.known_keys(table, &T::names(), &alloc::format!("`{key}`"));
    T::read_all(reader, table)
}

/// Values that an overlay is laid over.
pub(crate) trait Overlay {
    /// Lays `top` over this value.
    fn lay(&mut self, top: &Self);
}

/// An entry of a list in which each name occurs once.
pub(crate) trait Named: Clone {
    fn name(&self) -> &String;
}

impl Named for TextAt {
    fn name(&self) -> &String {
        &self.value
    }
}

impl Named for (TextAt, TextAt) {
    fn name(&self) -> &String {
        &self.0.value
    }
}

impl<T: Named> Overlay for Vec<T> {
    fn lay(&mut self, top: &Self) {
        for entry in top {
            match self.iter_mut().find(|known| known.name() == entry.name()) {
                Some(known) => known.clone_from(entry),
                None => self.push(entry.clone()),
            }
        }
    }
}

/// Calls a reader of one key; gives the closures of [`declare_keys`] their types.
pub(super) fn read_with<'r, T>(
    reader: &mut Reader<'r>,
    key: &str,
    value: &Value,
    read: impl FnOnce(&mut Reader<'r>, &str, &Value) -> T,
) -> T {
    read(reader, key, value)
}

/// One function a variant of [`Merge`].
#[allow(non_snake_case)]
pub(super) mod merge {
    pub(crate) use ByKey as Unite;

    pub(crate) fn Replace<T: Clone + Default + PartialEq>(base: &mut T, top: &T) {
        if *top != T::default() {
            base.clone_from(top);
        }
    }

    pub(crate) fn ByKey<T: super::Overlay>(base: &mut T, top: &T) {
        base.lay(top);
    }
}

/// Declares a table: a struct with one field a key, and how each is read and merged. An entry
/// is the meaning, the field and its type, then the key, the values that it accepts, its
/// default, its reader and its merge rule.
macro_rules! declare_keys {
    ($(#[$meta:meta])* $table:ident:
     $($(#[doc = $doc:literal])* $field:ident: $type:ty =
        $key:literal, $takes:ident $(($($of:expr),*))?, $default:literal, $read:expr, $merge:ident;
     )*) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(crate) struct $table { $($(#[doc = $doc])* pub(crate) $field: $type,)* }

        impl Declared for $table {
            const KEYS: &'static [Key] = &[$(Key {
                name: $key,
                takes: Type::$takes $(($($of),*))?,
                default: $default,
                merge: Merge::$merge,
                doc: concat!($($doc),*).trim_ascii_start(),
            },)*];

            fn read(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value) {
                match key {
                    $($key => self.$field = declare::read_with(reader, key, value, $read),)*
                    _ => {}
                }
            }
        }

        impl Overlay for $table {
            fn lay(&mut self, top: &Self) {
                $(declare::merge::$merge(&mut self.$field, &top.$field);)*
            }
        }
    };
}
pub(super) use declare_keys;
