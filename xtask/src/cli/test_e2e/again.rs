//! The command that was run, for a shell and for the shards that it is divided into.
//!
//! It runs nothing.

use super::TestE2eArgs;
use crate::view::words::quoted;

/// The same command, for a shell.
pub(crate) fn again(args: &TestE2eArgs) -> String {
    let mut words = vec!["cargo xtask test-e2e".to_owned()];
    let stacks = args.shard.map(|shard| shard.of).or(args.stacks);
    words.extend(stacks.map(|stacks| format!("--stacks {stacks}")));
    words.extend(words_of(args).iter().map(|word| quoted(word)));
    words.join(" ")
}

/// The flag for services in containers; without names it means all.
fn containers(names: &[String]) -> String {
    let names = names.join(",");
    if names.is_empty() { "--containers".to_owned() } else { format!("--containers={names}") }
}

/// What `up` is told of the services and where they run.
pub(crate) fn shape_of(args: &TestE2eArgs) -> Vec<String> {
    let with = args.with.iter().flat_map(|overlay| ["--with".to_owned(), overlay.clone()]);
    with.chain(args.containers.as_deref().map(containers)).collect()
}

/// Everything that shapes a run but for how many stacks it is divided onto.
pub(crate) fn words_of(args: &TestE2eArgs) -> Vec<String> {
    let mut words = shape_of(args);
    words.extend(args.faults.words());
    if args.kill_random {
        words.push("--kill-random".to_owned());
    }
    words.extend(args.filters.iter().cloned());
    if !args.runner_args.is_empty() {
        words.push("--".to_owned());
        words.extend(args.runner_args.iter().cloned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::faults::{FaultArgs, StartOrderWhen};

    #[test]
    fn the_command_to_run_again_is_the_command_that_was_run() {
        let args = TestE2eArgs {
            filters: vec!["slow".into()],
            with: vec!["postgres".into()],
            runner_args: vec!["-E".into(), "test(a)".into()],
            ..TestE2eArgs::default()
        };
        let command = "cargo xtask test-e2e --with postgres slow -- -E 'test(a)'";
        assert_eq!(again(&args), command);
        let faults = FaultArgs {
            start_order: Some(StartOrderWhen::Random),
            seed: Some(7),
            slow: vec!["shop=2s".into()],
        };
        let args = TestE2eArgs { faults, kill_random: true, stacks: Some(3), ..Default::default() };
        let command = "cargo xtask test-e2e --stacks 3 --start-order random --seed 7 \
                       --slow shop=2s --kill-random";
        assert_eq!(again(&args), command);
    }
}
