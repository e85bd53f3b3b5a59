//! Kills a client's build when the client has died.
//!
//! Cargo leads a process group of its own, which contains its compilers. As long as the client
//! runs, the build is the client's responsibility.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open};

use crate::system::pidfd::has_ended;

#[derive(Debug)]
pub(crate) struct Compilers {
    cargo: Pid,
    pidfd: OwnedFd,
}

impl Compilers {
    /// Returns the group that process `cargo` leads, `None` if it leads none or has exited.
    pub(crate) fn led_by(cargo: u32) -> Option<Self> {
        let cargo = Pid::from_raw(i32::try_from(cargo).ok()?)?;
        let pidfd = pidfd_open(cargo, PidfdFlags::empty()).ok()?;
        (getpgid(Some(cargo)) == Ok(cargo)).then_some(Self { cargo, pidfd })
    }

    /// Kills the group. After cargo has exited its group id may be reused, so nothing is killed.
    pub(crate) fn kill(&self) {
        if !has_ended(&self.pidfd) {
            let _ = kill_process_group(self.cargo, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn kill_ends_the_group_of_its_leader() {
        let mut leader = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let group = i32::try_from(leader.id()).unwrap();
        let mut member = Command::new("sleep").arg("600").process_group(group).spawn().unwrap();
        assert!(Compilers::led_by(member.id()).is_none());
        Compilers::led_by(leader.id()).unwrap().kill();
        assert!(leader.wait().unwrap().code().is_none());
        assert!(member.wait().unwrap().code().is_none());
        assert!(Compilers::led_by(leader.id()).is_none());
    }
}
