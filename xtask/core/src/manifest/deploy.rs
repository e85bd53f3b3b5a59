//! `deploy = { replicas = 3, memory = "64M", cpus = 0.5 }`: what an engine for more than
//! one machine is told.
//!
//! `up` looks at none of it: on this machine every service runs once.

use alloc::format;

use super::at::At;
use super::reader::Reader;
use super::value::{Table, Value, ValueKind};

/// More copies than anybody means.
const MOST_REPLICAS: i64 = 1000;

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
        replicas: replicas(reader, table),
        memory_bytes: memory(reader, table),
        cpu_millis: cpus(reader, table),
    }
}

fn replicas(reader: &mut Reader<'_>, table: &Table) -> Option<At<u32>> {
    let value = table.get("replicas")?;
    let hint = "write `replicas = 3`";
    let ValueKind::Integer(number) = value.kind else {
        reader.wrong_type("replicas", value, "a whole number", hint);
        return None;
    };
    match u32::try_from(number) {
        Ok(replicas) if (1..=MOST_REPLICAS).contains(&number) => {
            Some(reader.at(&value.bytes, replicas))
        }
        _ => {
            let message = format!("`replicas` must be 1 to {MOST_REPLICAS}, not {number}");
            reader.bad_value(&value.bytes, message, hint);
            None
        }
    }
}

/// A number and one of the units that engines share: `64M` is 64 times 1024 times 1024.
fn memory(reader: &mut Reader<'_>, table: &Table) -> Option<At<u64>> {
    let value = table.get("memory")?;
    let words = reader.string("memory", value)?;
    let text = words.value.as_str();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        _ => None,
    };
    let number = number.parse::<u64>().ok().filter(|number| *number > 0);
    let bytes = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1_u64 << shift));
    if bytes.is_none() {
        let message = format!("`memory` must be a number with K, M or G, not `{text}`");
        reader.bad_value(&value.bytes, message, "write `memory = \"64M\"`");
    }
    bytes.map(|bytes| reader.at(&value.bytes, bytes))
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
