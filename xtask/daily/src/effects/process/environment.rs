//! The environments of children: the contexts of the commands that start services.
//!
//! The supervisor's own context has the number 0. Each command adds the variables of its plan.

use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xtask_core::sorted::{SortedMap, SortedSet};

use xtask_control::context::Context;
use xtask_core::stack::Command;

use crate::effects::proxies;
use crate::effects::spawn::Inherited;
use crate::system::account::Account;
use crate::system::mark::{MARK, Mark};

/// The search path that cargo extends on this system.
pub(crate) const LIBRARY_PATH: &str = match cfg!(target_os = "macos") {
    true => "DYLD_FALLBACK_LIBRARY_PATH",
    false => "LD_LIBRARY_PATH",
};

#[derive(Debug)]
pub(crate) struct Contexts {
    /// Each by its number. The supervisor's own is always there.
    known: SortedMap<u64, Arc<Context>>,
    last: u64,
}

impl Contexts {
    /// The supervisor's own context.
    pub(crate) fn new(own: Context) -> Self {
        Self { known: SortedMap::from([(0, Arc::new(own))]), last: 0 }
    }

    /// Keeps a context, and returns its number. Equal contexts have one number.
    pub(crate) fn keep(&mut self, context: Context) -> u64 {
        let known = self.known.iter().find(|(_, known)| ***known == context);
        if let Some((number, _)) = known {
            return *number;
        }
        self.last += 1;
        self.known.insert(self.last, Arc::new(context));
        self.last
    }

    /// Drops every context but these and the supervisor's own.
    pub(crate) fn retain(&mut self, used: &SortedSet<u64>) {
        self.known.retain(|number, _| *number == 0 || used.contains(number));
    }

    /// The context with this number, or the supervisor's own.
    pub(crate) fn of(&self, number: u64) -> &Context {
        self.known.get(&number).unwrap_or(&self.known[&0])
    }

    /// The value of a variable in the environment of a command.
    pub(crate) fn get<'a>(&'a self, command: &'a Command, name: &str) -> Option<&'a OsStr> {
        let inherited = self.of(command.context).variable(name);
        let set = command.env.iter().rev().find(|(set, _)| set == name);
        let declared = set.map(|(_, value)| OsStr::new(value));
        match command.shell_wins.iter().any(|wins| wins == name) {
            true => inherited.or(declared),
            false => declared.or(inherited),
        }
    }

    /// The variables that a command sets. Values that the shell overrides are those of its context.
    pub(crate) fn set_by(&self, command: &Command) -> Vec<(String, OsString)> {
        let names = command.env.iter().map(|(name, _)| name);
        let value = |name: &String| Some((name.clone(), self.get(command, name)?.to_owned()));
        names.filter_map(value).collect()
    }

    /// Umask, nice value and limits of a command.
    pub(crate) fn inherited(&self, command: &Command) -> Inherited {
        Inherited::of(self.of(command.context))
    }

    /// The environment of one run as this account, with this `NOTIFY_SOCKET` and `XTASK_MARK`,
    /// without the variables that hold its pid. Values with a NUL byte cannot be set, and are left
    /// out.
    pub(crate) fn environment(
        &self,
        command: &Command,
        account: Option<&Account>,
        notify: Option<&Path>,
        mark: &Mark,
    ) -> Vec<CString> {
        let base = self.of(command.context).variables.iter();
        let mut all: SortedMap<Cow<'_, OsStr>, Cow<'_, OsStr>> =
            base.map(|(name, value)| (Cow::from(&name.0), Cow::from(&value.0))).collect();
        let mut set = |name: &str, value: OsString| {
            all.insert(Cow::Owned(name.into()), Cow::Owned(value));
        };
        if let Some(account) = account {
            set("HOME", account.home.clone());
            for name in ["USER", "LOGNAME"] {
                set(name, account.name.clone().into());
            }
        }
        for (name, value) in self.set_by(command) {
            set(&name, value);
        }
        if let Some(path) = notify {
            set("NOTIFY_SOCKET", path.into());
        }
        if let Some(every) = command.watchdog_us {
            set("WATCHDOG_USEC", every.to_string().into());
        }
        if !command.sockets.is_empty() {
            set("LISTEN_FDS", command.sockets.len().to_string().into());
            set("LISTEN_FDNAMES", command.sockets.join(":").into());
        }
        if let Some(linked) = &command.linked {
            let name = OsStr::new(LIBRARY_PATH);
            let before = all.get(name).map(std::env::split_paths).into_iter().flatten();
            let folders = linked.library_path.iter().map(PathBuf::from).chain(before);
            // A folder with a `:` cannot be searched under `cargo run` either.
            let path =
                std::env::join_paths(folders.filter(|folder| !folder.as_os_str().is_empty()));
            let path = path.ok().filter(|path| !path.is_empty());
            all.extend(path.map(|path| (Cow::Borrowed(name), Cow::Owned(path))));
        }
        let proxied = all
            .iter()
            .any(|(name, value)| name.to_str().is_some_and(proxies::is_proxy) && !value.is_empty());
        if proxied && !command.direct_hosts.is_empty() {
            let text = |name: &str| Some(all.get(OsStr::new(name))?.to_string_lossy().into_owned());
            let either = proxies::EXCEPTIONS.iter().find_map(|name| text(name));
            let lists = proxies::EXCEPTIONS.map(|name| {
                let before = text(name).or_else(|| either.clone()).unwrap_or_default();
                let hosts = proxies::with_hosts(&before, &command.direct_hosts);
                (Cow::Borrowed(OsStr::new(name)), Cow::Owned(OsString::from(hosts)))
            });
            all.extend(lists);
        }
        // Last, so that nothing overrides it.
        if let Mark::Value(mark) = mark {
            all.insert(Cow::Borrowed(MARK.as_ref()), Cow::Borrowed(OsStr::from_bytes(mark)));
        }
        let entry =
            |name: &OsStr, value: &OsStr| [name.as_bytes(), b"=", value.as_bytes()].concat();
        all.iter().filter_map(|(name, value)| CString::new(entry(name, value)).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use xtask_control::context::OsText;
    use xtask_core::stack::LinkedProgram;

    use super::*;
    use crate::effects::tests::command;

    fn context(pairs: &[(&str, &str)]) -> Context {
        let pair = |(name, value): &(&str, &str)| (OsText(name.into()), OsText(value.into()));
        Context { variables: pairs.iter().map(pair).collect(), ..Context::default() }
    }

    fn rendered(contexts: &Contexts, command: &Command) -> Vec<String> {
        let entries =
            contexts.environment(command, None, None, &Mark::of_run("m", "a", 1)).into_iter();
        entries.map(|entry| entry.into_string().unwrap()).collect()
    }

    #[test]
    fn hosts_of_the_stack_need_no_proxy() {
        let mut contexts =
            Contexts::new(context(&[("http_proxy", "http://p:1"), ("NO_PROXY", "x")]));
        let mut command = command("x", &[]);
        command.direct_hosts = vec!["127.0.0.1".to_owned(), "shop".to_owned()];
        let set = rendered(&contexts, &command);
        for name in ["NO_PROXY", "no_proxy"] {
            assert!(set.contains(&format!("{name}=x,127.0.0.1,shop")), "{set:?}");
        }
        command.context = contexts.keep(context(&[("http_proxy", "")]));
        assert_eq!(rendered(&contexts, &command), ["XTASK_MARK=m:a:1", "http_proxy="]);
    }

    #[test]
    fn command_gets_the_variables_of_its_context() {
        let mut contexts = Contexts::new(context(&[("A", "old"), ("B", "old")]));
        let number = contexts.keep(context(&[("A", "new")]));
        let mut command = command("x", &[]);
        assert_eq!(rendered(&contexts, &command), ["A=old", "B=old", "XTASK_MARK=m:a:1"]);
        command.context = number;
        assert_eq!(rendered(&contexts, &command), ["A=new", "XTASK_MARK=m:a:1"]);
    }

    #[test]
    fn equal_contexts_share_a_number_and_unused_are_dropped() {
        let mut contexts = Contexts::new(context(&[]));
        let first = contexts.keep(context(&[("A", "1")]));
        let second = contexts.keep(context(&[("A", "2")]));
        assert_eq!(contexts.keep(context(&[("A", "1")])), first);
        contexts.retain(&SortedSet::from([second]));
        assert_eq!(contexts.of(first), contexts.of(0));
        assert_ne!(contexts.keep(context(&[("A", "1")])), first);
    }

    #[test]
    fn built_program_gets_the_library_path_of_cargo() {
        let mut command = command("x", &[]);
        let library_path = vec!["/t/debug".to_owned(), "/t/debug/deps".to_owned()];
        command.linked = Some(LinkedProgram { path: "/t/debug/x".to_owned(), library_path });
        let path = |pairs: &[(&str, &str)], command: &Command| {
            let all = rendered(&Contexts::new(context(pairs)), command);
            all.iter().find_map(|entry| entry.strip_prefix("LD_LIBRARY_PATH=").map(str::to_owned))
        };
        assert_eq!(path(&[], &command).unwrap(), "/t/debug:/t/debug/deps");
        let inherited = [("LD_LIBRARY_PATH", "/opt/lib")];
        assert_eq!(path(&inherited, &command).unwrap(), "/t/debug:/t/debug/deps:/opt/lib");
        command.env = vec![("LD_LIBRARY_PATH".into(), "/own".into())];
        assert_eq!(path(&inherited, &command).unwrap(), "/t/debug:/t/debug/deps:/own");
        command.linked = None;
        command.env.clear();
        assert_eq!(path(&inherited, &command).unwrap(), "/opt/lib");
    }

    #[test]
    fn declared_value_yields_to_the_shell_where_allowed() {
        let contexts = Contexts::new(context(&[("A", "shell"), ("B", "shell")]));
        let mut command = command("x", &[]);
        let set = |name: &str| (name.to_owned(), "declared".to_owned());
        command.env = vec![set("A"), set("B"), set("C")];
        command.shell_wins = vec!["A".to_owned(), "C".to_owned()];
        let all = rendered(&contexts, &command);
        assert_eq!(all, ["A=shell", "B=declared", "C=declared", "XTASK_MARK=m:a:1"]);
    }

    #[test]
    fn sockets_are_announced_by_name() {
        let mut command = command("x", &[]);
        command.sockets = vec!["http".into(), "metrics".into()];
        let all = rendered(&Contexts::new(context(&[])), &command);
        assert_eq!(all, ["LISTEN_FDNAMES=http:metrics", "LISTEN_FDS=2", "XTASK_MARK=m:a:1"]);
    }
}
