//! How commands declare and read their arguments: with clap's builder.
//!
//! The first `up` of a clone compiles this package. That takes longer with clap's derive macros.

use clap_builder::{Arg, ArgAction, ArgMatches, Command};

/// The arguments of a command, or a part of them that commands share.
pub(crate) trait Arguments: Sized {
    /// Declares the arguments, in the order of `--help`.
    fn add(command: Command) -> Command;

    fn read(matches: &mut ArgMatches) -> Self;
}

/// `--NAME`
pub(super) fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// `--NAME VALUE`
pub(super) fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// `--NAME VALUE`, any number of times.
pub(super) fn options(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    option(name, value, help).action(ArgAction::Append)
}

/// `[VALUE]...`
pub(super) fn words(id: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(id).value_name(value).help(help).num_args(1..).action(ArgAction::Append)
}

/// The value of an argument that is required or has a default. Without one, clap has refused the
/// command line.
pub(super) fn required<T>(matches: &mut ArgMatches, id: &str) -> T
where
    T: Clone + Default + Send + Sync + 'static,
{
    matches.remove_one(id).unwrap_or_default()
}

/// The values of [`options`] or [`words`].
pub(super) fn all(matches: &mut ArgMatches, id: &str) -> Vec<String> {
    matches.remove_many(id).map(Iterator::collect).unwrap_or_default()
}

/// Lets clap's derive macros flatten arguments of this package into a command of another one.
macro_rules! flatten {
    ($($shared:ty),+) => {$(
        impl clap_builder::Args for $shared {
            fn augment_args(command: clap_builder::Command) -> clap_builder::Command {
                <Self as $crate::cli::arguments::Arguments>::add(command)
            }

            fn augment_args_for_update(command: clap_builder::Command) -> clap_builder::Command {
                Self::augment_args(command)
            }
        }

        impl clap_builder::FromArgMatches for $shared {
            fn from_arg_matches(
                matches: &clap_builder::ArgMatches,
            ) -> Result<Self, clap_builder::Error> {
                Self::from_arg_matches_mut(&mut matches.clone())
            }

            fn from_arg_matches_mut(
                matches: &mut clap_builder::ArgMatches,
            ) -> Result<Self, clap_builder::Error> {
                Ok($crate::cli::arguments::Arguments::read(matches))
            }

            fn update_from_arg_matches(
                &mut self,
                matches: &clap_builder::ArgMatches,
            ) -> Result<(), clap_builder::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    )+};
}
pub(super) use flatten;
