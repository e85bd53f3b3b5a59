//! The build of a client, for ending it when the client cannot any more.
//!
//! Cargo leads a group of its own, which its compilers are in. It is the client's
//! child and the client's business as long as the client lives.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open};

use crate::system::sweep::has_ended;

/// Cargo and its compilers.
#[derive(Debug)]
pub(crate) struct Compilers {
    cargo: Pid,
    pidfd: OwnedFd,
}

impl Compilers {
    /// The group that this process leads; none if it does not, or is gone.
    pub(crate) fn led_by(cargo: u32) -> Option<Self> {
        let cargo = Pid::from_raw(i32::try_from(cargo).ok()?)?;
        let pidfd = pidfd_open(cargo, PidfdFlags::empty()).ok()?;
        (getpgid(Some(cargo)) == Ok(cargo)).then_some(Self { cargo, pidfd })
    }

    /// Kills them. Where cargo has ended the number of its group says nothing any more.
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

    use crate::driver::compilers::*;

    #[test]
    fn a_group_is_killed_with_its_leader_and_another_process_is_no_group() {
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
