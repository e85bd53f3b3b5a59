//! `deploy = { replicas = 3, memory = "64M", cpus = 0.5 }`: what an engine for more than
//! one machine is told.
//!
//! `up` looks at none of it: on this machine every service runs once.

use alloc::format;

use super::at::At;
use super::reader::Reader;
use super::value::{Table, Value, ValueKind};

/// More copies than anybody means.
const MOST_REPLICAS: u32 = 1000;

/// What was said; each key merges alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deploy {
    /// How many copies run.
    pub replicas: Option<At<u32>>,
    /// The memory that a copy may use, in bytes.
    pub memory_bytes: Option<At<u64>>,
    /// The processors that a copy may use, in thousandths.
    pub cpu_millis: Option<At<u32>>,
}

/// Reads the table.
pub(crate) fn deploy(reader: &mut Reader<'_>, value: &Value) -> Deploy {
    let Some(table) = reader.table("deploy", value) else { return Deploy::default() };
    reader.known_keys(table, &["replicas", "memory", "cpus"], "`deploy`");
    Deploy {
        replicas: table
            .get("replicas")
            .and_then(|value| reader.count("replicas", value, 1..=MOST_REPLICAS, 3)),
        memory_bytes: table.get("memory").and_then(|value| reader.size("memory", value, "64M")),
        cpu_millis: cpus(reader, table),
    }
}

fn cpus(reader: &mut Reader<'_>, table: &Table) -> Option<At<u32>> {
    let value = table.get("cpus")?;
    let hint = "write `cpus = 0.5`";
    let number = match value.kind {
        ValueKind::Integer(number) => number as f64,
        ValueKind::Float(number) => number,
        _ => {
            reader.wrong_type("cpus", value, "a number", hint);
            return None;
        }
    };
    if !(0.001..=1_000.0).contains(&number) {
        let message = format!("`cpus` must be 0.001 to 1000, not {number}");
        reader.bad_value(&value.bytes, message, hint);
        return None;
    }
    let millis = (number * 1_000.0) as u32;
    Some(reader.at(&value.bytes, millis))
}
