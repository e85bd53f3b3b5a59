//! How much the system passes to a program as arguments and variables.

use std::ffi::CString;

/// The most bytes of one argument or variable, with its name and final NUL, that the system passes
/// to a program; none if only the sum is limited.
pub(crate) fn longest_text() -> Option<usize> {
    cfg!(target_os = "linux").then(|| 32 * page_size())
}

/// The most bytes of all arguments and variables together, as the kernel derives it from the limit
/// of the stack.
fn longest_texts(stack: u64) -> usize {
    const LEAST: u64 = 128 * 1024;
    const MOST: u64 = 6 * 1024 * 1024;
    usize::try_from((stack / 4).clamp(LEAST, MOST)).unwrap_or(usize::MAX)
}

fn page_size() -> usize {
    // SAFETY: the call takes a number and returns one.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Why arguments and variables are too long for a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeFault {
    #[error("{what} has {bytes} bytes, and the system passes at most {limit}; put it into a file")]
    One { what: String, bytes: usize, limit: usize },
    #[error(
        "arguments and variables have {bytes} bytes, and the system passes at most {limit}; the \
         longest is {what} with {longest} bytes"
    )]
    Sum { what: String, longest: usize, bytes: usize, limit: usize },
}

/// Why the system will refuse to pass these arguments and variables, if it will, to a program with
/// this limit of its stack in bytes. Values are not part of it.
pub(crate) fn size_fault(args: &[CString], env: &[CString], stack: u64) -> Option<SizeFault> {
    size_fault_within(args, env, longest_text(), longest_texts(stack))
}

fn size_fault_within(
    args: &[CString],
    env: &[CString],
    one: Option<usize>,
    limit: usize,
) -> Option<SizeFault> {
    let size = |text: &CString| text.as_bytes_with_nul().len();
    let bytes = args.iter().chain(env).map(|text| size(text) + size_of::<usize>()).sum();
    let arguments = (1..).zip(args.iter().skip(1));
    let arguments = arguments.map(|(place, arg)| (size(arg), Text::Argument(place)));
    let variables = env.iter().map(|text| (size(text), Text::Variable(text)));
    let (longest, text) = arguments.chain(variables).max_by_key(|(size, _)| *size)?;
    if bytes <= limit && one.is_none_or(|one| longest <= one) {
        return None;
    }
    let what = match text {
        Text::Argument(place) => format!("argument {place}"),
        Text::Variable(text) => {
            let text = text.to_string_lossy();
            format!("variable `{}`", text.split('=').next().unwrap_or_default())
        }
    };
    match one {
        Some(limit) if longest > limit => Some(SizeFault::One { what, bytes: longest, limit }),
        _ => Some(SizeFault::Sum { what, longest, bytes, limit }),
    }
}

/// What is passed to a program.
enum Text<'a> {
    /// With its place, from 1.
    Argument(usize),
    Variable(&'a CString),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_text_is_named_without_its_value() {
        let texts = |texts: &[&str]| -> Vec<CString> {
            texts.iter().map(|text| CString::new(*text).unwrap()).collect()
        };
        let (args, env) = (texts(&["program", "one", "a value"]), texts(&["A=1", "BIG=secret"]));
        let fault = |one, sum| Some(size_fault_within(&args, &env, one, sum)?.to_string());
        assert_eq!(fault(Some(11), 1000), None);
        let one = fault(Some(10), 1000).unwrap();
        assert!(one.starts_with("variable `BIG` has 11 bytes, and the system passes at most 10;"));
        assert!(!one.contains("secret"));
        let sum = fault(None, 40).unwrap();
        assert!(sum.ends_with("at most 40; the longest is variable `BIG` with 11 bytes"), "{sum}");
        assert!(size_fault(&args, &env, u64::MAX).is_none());
    }
}
