//! Reads what the system's loader reads of an ELF file: its machine, its loader, and the libraries
//! that it needs.
//!
//! It follows the program headers, as the loader does. Sections and symbols are ignored.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Kinds of files, as `e_type` has them: a program, and a library or relocatable program.
pub(crate) const PROGRAM: u16 = 2;
pub(crate) const SHARED: u16 = 3;

/// Kinds of segments.
const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;
const INTERPRETER: u64 = 3;

/// Tags of the dynamic segment.
const NEEDED: u64 = 1;
const STRINGS: u64 = 5;

/// The most bytes of one part that are read. Real ones are much smaller.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The offsets of the fields that are read, which depend on the width of a word.
struct Layout {
    word: usize,
    /// In the head of the file.
    segments: u64,
    segment_bytes: u64,
    segment_count: u64,
    /// In the head of a segment.
    offset: usize,
    address: usize,
    length: usize,
}

const WIDE: Layout = Layout {
    word: 8,
    segments: 32,
    segment_bytes: 54,
    segment_count: 56,
    offset: 8,
    address: 16,
    length: 32,
};

const NARROW: Layout = Layout {
    word: 4,
    segments: 28,
    segment_bytes: 42,
    segment_count: 44,
    offset: 4,
    address: 8,
    length: 16,
};

/// An open ELF file.
pub(crate) struct Elf {
    file: File,
    layout: &'static Layout,
    is_little: bool,
    pub(crate) kind: u16,
    pub(crate) machine: u16,
    segments: Vec<Segment>,
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    length: u64,
}

impl Elf {
    /// Opens a file; none if it cannot be read or is no ELF file.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Self::of(File::open(path).ok()?)
    }

    /// Reads the heads of a file; none if it is no ELF file.
    pub(crate) fn of(file: File) -> Option<Self> {
        let mut head = [0; 6];
        file.read_exact_at(&mut head, 0).ok()?;
        let (layout, is_little) = match head {
            [0x7f, b'E', b'L', b'F', width @ (1 | 2), order @ (1 | 2)] => {
                (if width == 2 { &WIDE } else { &NARROW }, order == 1)
            }
            _ => return None,
        };
        let mut elf = Self { file, layout, is_little, kind: 0, machine: 0, segments: Vec::new() };
        elf.kind = elf.half(16)?;
        elf.machine = elf.half(18)?;
        let table = elf.number(&elf.read(layout.segments, layout.word as u64)?, 0, layout.word)?;
        let bytes = elf.half(layout.segment_bytes)?;
        for index in 0..elf.half(layout.segment_count)? {
            let at = table.checked_add(u64::from(bytes) * u64::from(index))?;
            let head = elf.read(at, u64::from(bytes))?;
            let word = |at| elf.number(&head, at, layout.word);
            let segment = Segment {
                kind: elf.number(&head, 0, 4)?,
                offset: word(layout.offset)?,
                address: word(layout.address)?,
                length: word(layout.length)?,
            };
            elf.segments.push(segment);
        }
        Some(elf)
    }

    /// The loader that the system starts first; none for a static program.
    pub(crate) fn loader(&self) -> Option<PathBuf> {
        let mut path = self.content(INTERPRETER)?;
        path.truncate(path.iter().position(|byte| *byte == 0)?);
        Some(String::from_utf8(path).ok()?.into())
    }

    /// The names of the libraries that it needs; none if it is linked statically.
    pub(crate) fn needed(&self) -> Option<Vec<String>> {
        let word = self.layout.word;
        let entries = self.content(DYNAMIC)?;
        let entries: Vec<(u64, u64)> = entries
            .chunks_exact(2 * word)
            .filter_map(|entry| {
                Some((self.number(entry, 0, word)?, self.number(entry, word, word)?))
            })
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let (_, strings) = entries.iter().find(|(tag, _)| *tag == STRINGS)?;
        let mut loaded = self.segments.iter().filter(|segment| segment.kind == LOAD);
        let around = loaded.find(|segment| {
            (segment.address..segment.address.saturating_add(segment.length)).contains(strings)
        })?;
        let begin = strings - around.address;
        let strings = self.read(around.offset.checked_add(begin)?, around.length - begin)?;
        let needed = entries.iter().filter(|(tag, _)| *tag == NEEDED);
        needed
            .map(|(_, at)| {
                let name = strings.get(usize::try_from(*at).ok()?..)?;
                let name = name.split(|byte| *byte == 0).next()?;
                Some(String::from_utf8_lossy(name).into_owned())
            })
            .collect()
    }

    fn content(&self, kind: u64) -> Option<Vec<u8>> {
        let segment = self.segments.iter().find(|segment| segment.kind == kind)?;
        self.read(segment.offset, segment.length)
    }

    fn read(&self, at: u64, length: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length.min(LONGEST)).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    fn half(&self, at: u64) -> Option<u16> {
        self.number(&self.read(at, 2)?, 0, 2)?.try_into().ok()
    }

    /// The number of `width` bytes at an offset, in the byte order of the file.
    fn number(&self, bytes: &[u8], at: usize, width: usize) -> Option<u64> {
        let digits = bytes.get(at..at + width)?.iter();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.is_little {
            true => digits.rev().fold(0, add),
            false => digits.fold(0, add),
        })
    }
}
