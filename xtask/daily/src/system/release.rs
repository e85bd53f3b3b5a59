//! Returns memory that this process no longer uses to the system.
//!
//! A process of the runtime returns it in the moment in which its thread begins to wait: what runs
//! between the decision and the wait would map a great part of the code again.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether [`parking`] returns memory.
static DUE: AtomicBool = AtomicBool::new(false);

/// Returns memory when the runtime's thread waits the next time.
pub(crate) fn release_when_parking() {
    DUE.store(true, Ordering::Relaxed);
}

/// What the runtime calls before its thread waits.
pub(crate) fn parking() {
    if DUE.swap(false, Ordering::Relaxed) {
        release_heap();
        release_code();
    }
}

/// Unmaps the pages of this program's code and constants. The next use of a page maps it again
/// from the file, usually without a read from disk. A process that only waits needs few of them.
#[cfg(target_os = "linux")]
pub(crate) fn release_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in unwritten(&maps) {
        let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(start);
        // SAFETY: the range is a mapping of the program's file that was never writable, so the
        // file has every byte of it.
        unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) };
    }
}

/// Returns what is free on the heap.
fn release_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn release_code() {}

/// The mappings of the first file, the program, that were never writable: up to its code. Behind
/// the code there are pages that the loader has written before it made them read-only.
#[cfg(any(target_os = "linux", test))]
fn unwritten(maps: &str) -> Vec<(usize, usize)> {
    let parse = |line: &str| {
        // START-END PERMISSIONS OFFSET DEVICE INODE PATH
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let permissions = words.next()?.to_owned();
        let file = (words.nth(1)?.to_owned(), words.next()?.to_owned());
        let number = |digits| usize::from_str_radix(digits, 16).ok();
        Some((number(start)?, number(end)?, permissions, file))
    };
    let mut lines = maps.lines().map_while(parse).peekable();
    let Some((.., program)) = lines.peek().cloned() else { return Vec::new() };
    let mut found = Vec::new();
    for (start, end, permissions, file) in lines {
        let is_code = permissions == "r-xp";
        if file != program || !(is_code || permissions == "r--p") {
            break;
        }
        found.push((start, end));
        if is_code {
            return found;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
1000-2000 r--p 00000000 fe:00 42                   /t/xtask (deleted)
2000-5000 r-xp 00001000 fe:00 42                   /t/xtask (deleted)
5000-6000 r--p 00004000 fe:00 42                   /t/xtask (deleted)
6000-7000 rw-p 00005000 fe:00 42                   /t/xtask (deleted)
7000-9000 rw-p 00000000 00:00 0                    [heap]
9000-a000 r-xp 00000000 fe:00 43                   /lib/libc.so.6
";

    #[test]
    fn only_pages_that_were_never_written_are_released() {
        assert_eq!(unwritten(MAPS), [(0x1000, 0x2000), (0x2000, 0x5000)]);
        // Code that is behind writable pages, or not there, is left alone.
        let written = MAPS.replacen("r--p", "rw-p", 1);
        assert_eq!(unwritten(&written), []);
        assert_eq!(unwritten(""), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn released_code_still_runs() {
        release_code();
        release_heap();
        assert_eq!(format!("{}-{:?}", 12, Some("x")), "12-Some(\"x\")");
    }

    #[test]
    fn memory_is_returned_when_the_thread_waits() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().on_thread_park(parking).build().unwrap();
        runtime.block_on(async {
            release_when_parking();
            assert!(DUE.load(Ordering::Relaxed));
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            assert!(!DUE.load(Ordering::Relaxed));
        });
    }
}
