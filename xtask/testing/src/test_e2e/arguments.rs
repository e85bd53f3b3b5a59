//! The command line of this run, for the user to repeat it and for its shards.

use xtask::cli::faults::FaultArgs;
use xtask::view::words::quoted;

use super::TestE2eArgs;

/// The command that repeats the run, quoted for a shell.
pub(crate) fn repeat_command(args: &TestE2eArgs) -> String {
    let mut arguments = vec!["%xtask% test-e2e".to_owned()];
    let stacks = args.shard.map(|shard| shard.of).or(args.stacks);
    arguments.extend(stacks.map(|stacks| format!("--stacks {stacks}")));
    arguments.extend(run_arguments(args).iter().map(|argument| quoted(argument)));
    arguments.join(" ")
}

/// The flag `--containers`; without names it means all services.
fn containers(names: &[String]) -> String {
    let names = names.join(",");
    if names.is_empty() { "--containers".to_owned() } else { format!("--containers={names}") }
}

/// The arguments for `up`.
pub(crate) fn up_arguments(args: &TestE2eArgs) -> Vec<String> {
    let with = args.with.iter().flat_map(|overlay| ["--with".to_owned(), overlay.clone()]);
    with.chain(args.containers.as_deref().map(containers)).collect()
}

/// The arguments for `up` that inject faults. It refuses a seed without `--start-order`.
pub(crate) fn start_arguments(faults: &FaultArgs) -> Vec<String> {
    let seed = faults.seed.filter(|_| faults.start_order.is_some());
    fault_arguments(&FaultArgs { seed, ..faults.clone() })
}

fn fault_arguments(faults: &FaultArgs) -> Vec<String> {
    let order = faults.start_order.map(|_| ["--start-order", "random"].map(str::to_owned));
    let seed = faults.seed.map(|seed| ["--seed".to_owned(), seed.to_string()]);
    let slow = faults.slow.iter().map(|slow| ["--slow".to_owned(), slow.clone()]);
    order.into_iter().chain(seed).chain(slow).flatten().collect()
}

/// All arguments of the run except the number of stacks.
pub(crate) fn run_arguments(args: &TestE2eArgs) -> Vec<String> {
    let mut arguments = up_arguments(args);
    arguments.extend(fault_arguments(&args.faults));
    if args.kill_random {
        arguments.push("--kill-random".to_owned());
    }
    arguments.extend(args.filters.iter().cloned());
    if !args.runner_args.is_empty() {
        arguments.push("--".to_owned());
        arguments.extend(args.runner_args.iter().cloned());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::cli::faults::StartOrderWhen;

    #[test]
    fn repeat_command_has_every_argument_of_the_run() {
        let args = TestE2eArgs {
            filters: vec!["slow".into()],
            with: vec!["postgres".into()],
            runner_args: vec!["-E".into(), "test(a)".into()],
            ..TestE2eArgs::default()
        };
        let command = "%xtask% test-e2e --with postgres slow -- -E 'test(a)'";
        assert_eq!(repeat_command(&args), command);
        let faults = FaultArgs {
            start_order: Some(StartOrderWhen::Random),
            seed: Some(7),
            slow: vec!["shop=2s".into()],
        };
        let args = TestE2eArgs { faults, kill_random: true, stacks: Some(3), ..Default::default() };
        let command = "%xtask% test-e2e --stacks 3 --start-order random --seed 7 \
                       --slow shop=2s --kill-random";
        assert_eq!(repeat_command(&args), command);
    }
}
