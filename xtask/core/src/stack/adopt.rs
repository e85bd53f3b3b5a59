//! Somebody holds the ports of a service: who may stand in its place, who is refused,
//! and who is stopped to make room.
//!
//! First it is waited for what a closer look needs, then the world looks, then it is
//! decided, and when the service may start, it is done. An adopted process is a run
//! that gets no signal and that nobody waits for. One that is stopped on demand is a
//! run that ends from its first moment, so that everything about ends holds for it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::effect::PreparedProbe;
use super::event::{Exit, Found, Holder, Occupant, StartedBy};
use super::likeness::{Likeness, Relation};
use super::node::{Check, Id, Launched, Origin, Phase, Rest, Stage, Stopping};
use super::phase::PATIENCE;
use super::tenancy::{Bound, Fate, Held, Tenant};
use super::{Effect, Stack, unexpected, words};
use crate::plan::{Port, Probe, Program};
use crate::snapshot::Failure;
use crate::terms::{Adopt, Name, duration};

/// How many processes are stopped for one wish: some are started again by somebody
/// else each time.
const MOST_EVICTIONS: u32 = 8;

impl Stack {
    /// Somebody holds a port: is that worth a closer look?
    pub(super) fn held(&mut self, id: Id, held: Held) {
        // Nobody stands in for what runs to completion, or at a number that nobody knows.
        if self.nodes[id].is_job() || self.numbers(id).is_none() {
            return self.refuse(id, &held);
        }
        let bound = match (self.nodes[id].spec.adopt, &held.holder) {
            (Adopt::Any, None) => {
                let tenant = Tenant { holder: None, likeness: None, fate: Fate::Adopted };
                Bound::Taken(tenant)
            }
            (Adopt::Any, Some(_)) => Bound::Held(held),
            (Adopt::SameBinary | Adopt::Never, Some(holder)) if self.may_be_it(id, holder) => {
                Bound::Held(held)
            }
            (Adopt::SameBinary | Adopt::Never, _) => return self.refuse(id, &held),
        };
        self.nodes[id].address.bound = bound;
    }

    /// Whether a process has the name of the service's program. Without it nobody has
    /// to wait for the end of a build to hear that the port is held.
    fn may_be_it(&self, id: Id, holder: &Holder) -> bool {
        match &self.nodes[id].spec.program {
            Program::Artifact { binary, .. } => holder.program.rsplit('/').next() == Some(binary),
            Program::Command { .. } => true,
            Program::External | Program::Image { .. } => false,
        }
    }

    /// Looks closely, if everything is known that the holder is compared with.
    pub(super) fn look(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let Some(like) = self.looks_for(id) else { return };
        let Some(ports) = self.numbered_ports(id) else { return };
        let Bound::Held(held) = &self.nodes[id].address.bound else { return };
        let held = held.clone();
        effects.push(Effect::Look {
            service: self.nodes[id].spec.name.clone(),
            ports,
            like: like.as_ref().map(Likeness::question),
        });
        self.nodes[id].address.bound = Bound::Looking { held, like };
    }

    /// What a holder is compared with; nothing where anybody will do, and none while
    /// that is not known.
    fn looks_for(&self, id: Id) -> Option<Option<Likeness>> {
        match self.nodes[id].spec.adopt {
            Adopt::Any if self.nodes[id].evictions == 0 => Some(None),
            Adopt::Any | Adopt::SameBinary | Adopt::Never => self.likeness(id).map(Some),
        }
    }

    /// Why a closer look will never be possible: that a command cannot be said is found
    /// out at its start, and this one does not get that far.
    pub(super) fn why_no_look(&self, id: Id) -> Option<String> {
        match self.nodes[id].address.bound {
            Bound::Held(_) if !self.is_likeness_coming(id) => self.render(id).err(),
            Bound::Held(_)
            | Bound::No
            | Bound::Asked
            | Bound::Yes
            | Bound::Looking { .. }
            | Bound::Taken(_)
            | Bound::Failed { .. } => None,
        }
    }

    fn numbered_ports(&self, id: Id) -> Option<Vec<Port>> {
        let mut ports = self.nodes[id].spec.ports.clone();
        for (port, number) in ports.iter_mut().zip(self.numbers(id)?) {
            port.number = Some(number);
        }
        Some(ports)
    }

    pub(super) fn looked(&mut self, service: &Name, occupant: Occupant, effects: &mut Vec<Effect>) {
        let Some(id) = self.known(service, "`looked`", effects) else { return };
        let Bound::Looking { held, like } = &self.nodes[id].address.bound else {
            return unexpected(effects, format!("`looked` for `{service}`, which did not ask"));
        };
        let (held, like) = (held.clone(), like.clone());
        // Whatever is not decided now is asked again from the beginning.
        self.nodes[id].address.bound = Bound::No;
        self.enqueue(id);
        if !self.asked_as_wanted(id) || self.looks_for(id).as_ref() != Some(&like) {
            return;
        }
        match occupant {
            Occupant::Nobody => {}
            // It may have become a job since the look was asked for.
            Occupant::Process(found) if self.nodes[id].is_job() => {
                self.refuse(id, &Held { holder: Some(found.holder), ..held });
            }
            Occupant::Hidden => self.refuse(id, &Held { holder: None, ..held }),
            Occupant::Process(found) => self.judge(id, held, like, found),
        }
    }

    fn judge(&mut self, id: Id, held: Held, likeness: Option<Likeness>, found: Found) {
        let node = &self.nodes[id];
        let relation = match &likeness {
            Some(likeness) => likeness.relation(&found, node.linked.as_deref()),
            None => Relation::Stranger,
        };
        let holder = Some(found.holder.clone());
        let take = |fate| {
            let holder = holder.clone();
            Bound::Taken(Tenant { holder, likeness: likeness.clone(), fate })
        };
        let any = node.spec.adopt == Adopt::Any;
        let bound = match relation {
            Relation::Stranger if any => take(Fate::Adopted),
            Relation::Stranger => {
                let held = Held { holder, user: None, ..held };
                return self.refuse(id, &held);
            }
            Relation::Same | Relation::OtherBuild => match found.started_by {
                // Its own supervisor would start it again.
                StartedBy::OtherStack if !any => {
                    let held = Held { holder, user: None, ..held };
                    Bound::failed(Failure::Port, words::held(&held))
                }
                StartedBy::Hand | StartedBy::ThisStack if node.evictions > 0 => take(Fate::Evicted),
                StartedBy::Hand | StartedBy::ThisStack | StartedBy::OtherStack if any => {
                    take(Fate::Adopted)
                }
                StartedBy::Hand | StartedBy::ThisStack | StartedBy::OtherStack => {
                    match self.objection(id, likeness.as_ref(), relation, &found) {
                        Some(reason) => Bound::failed(Failure::Unadopted, reason),
                        None => take(Fate::Adopted),
                    }
                }
            },
        };
        self.nodes[id].address.bound = bound;
    }

    /// Why a process of the same program cannot stand in the service's place, if so.
    fn objection(
        &self,
        id: Id,
        likeness: Option<&Likeness>,
        relation: Relation,
        found: &Found,
    ) -> Option<String> {
        match (relation, found.started_by, self.nodes[id].spec.adopt) {
            (Relation::OtherBuild, _, _) => Some(words::other_build(found)),
            (_, StartedBy::ThisStack, _) => Some(words::left_behind(found)),
            (_, _, Adopt::Never) => Some(words::not_to_be_adopted(found)),
            (_, _, Adopt::SameBinary | Adopt::Any) => {
                let differences = likeness?.differences(found);
                (!differences.is_empty()).then(|| words::differs(found, &differences))
            }
        }
    }

    /// The port is somebody else's, and stays so.
    fn refuse(&mut self, id: Id, held: &Held) {
        let address = &mut self.nodes[id].address;
        if address.remembered {
            // Nobody insisted on that number: any other one will do.
            address.numbers.clear();
            address.bound = Bound::No;
        } else {
            address.bound = Bound::failed(Failure::Port, words::held(held));
        }
    }

    /// Whether somebody whom the system does not show stands in the service's place.
    pub(super) fn is_hidden(&self, id: Id) -> bool {
        match &self.nodes[id].address.bound {
            Bound::Taken(tenant) => tenant.holder.is_none(),
            Bound::No
            | Bound::Asked
            | Bound::Yes
            | Bound::Held(_)
            | Bound::Looking { .. }
            | Bound::Failed { .. } => false,
        }
    }

    /// Whether what was decided about a holder still holds.
    pub(super) fn is_settled_with(&self, id: Id, tenant: &Tenant) -> bool {
        let asked = match (&tenant.likeness, self.nodes[id].spec.adopt) {
            (None, Adopt::Any) if tenant.holder.is_none() => true,
            (like, _) => self.looks_for(id).as_ref() == Some(like),
        };
        asked && self.asked_as_wanted(id)
    }

    /// Takes the holder as the next run, or stops it. The conditions of a start hold.
    pub(super) fn take_tenant(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let Bound::Taken(tenant) = self.nodes[id].address.bound.clone() else { return };
        let (mut launched, mut probes) = match self.prepare(id) {
            Ok(prepared) => prepared,
            Err(reason) => return self.fail(id, Failure::Start, reason, effects),
        };
        let Some(command) = launched.command.clone() else { return };
        launched.likeness = tenant.likeness;
        match tenant.fate {
            Fate::Adopted => {
                launched.origin = Origin::Adopted;
                if let Err(reason) = self.ask_from_outside(id, &mut probes) {
                    return self.fail(id, Failure::Start, reason, effects);
                }
            }
            Fate::Evicted => {
                launched.origin = Origin::Evicted;
                probes.clear();
            }
        }
        let run = self.begin(id, launched, &probes);
        let service = self.nodes[id].spec.name.clone();
        match tenant.holder {
            Some(Holder { pid, .. }) => {
                effects.push(Effect::Adopt { service, run, pid, command, probes });
            }
            None => effects.push(Effect::Probe { service, run, probes }),
        }
        match tenant.fate {
            Fate::Adopted => {
                self.nodes[id].evictions = 0;
                if let Some(numbers) = self.numbers(id) {
                    self.give(id, numbers);
                }
            }
            Fate::Evicted => self.evict(id),
        }
    }

    /// The probes of a process that was not started here: what it says of itself, it does
    /// not say to us. Where nothing else is left, it has to accept a connection.
    fn ask_from_outside(&self, id: Id, probes: &mut Vec<PreparedProbe>) -> Result<(), String> {
        probes.retain(|prepared| match prepared.probe {
            Probe::Http { .. } | Probe::Tcp { .. } | Probe::Command { .. } => true,
            Probe::Notify | Probe::Log { .. } => false,
        });
        if probes.is_empty() {
            let own = self.nodes[id].spec.probes.len();
            probes.push(self.prepare_probe(id, own, &Probe::Tcp { port: 0 })?);
        }
        probes.iter_mut().for_each(|prepared| prepared.queued = false);
        Ok(())
    }

    /// A run that ends from its first moment: it is told as soon as it is there.
    fn evict(&mut self, id: Id) {
        let give_up = self.now.saturating_add(PATIENCE);
        let node = &mut self.nodes[id];
        node.evictions = node.evictions.saturating_sub(1);
        node.phase = Phase::Stopping(Stopping {
            pid: None,
            stage: Stage::Unborn { give_up },
            exited: false,
            reason: Some(String::from(words::MAKES_ROOM)),
            then: Rest::Idle,
        });
    }

    /// An adopted process ended by itself. Nothing of it is ours to wait for.
    pub(super) fn adopted_ended(&mut self, id: Id, exit: Exit) {
        let then = if self.nodes[id].is_due() {
            Rest::Idle
        } else {
            self.after_end(id, exit, &words::exit(exit))
        };
        self.part(id, then);
    }

    /// What is said of an adopted process that is not ready in time: whoever adopted
    /// anybody wants to know whom.
    pub(super) fn unready(&self, id: Id, seen: &str) -> Option<Rest> {
        let Bound::Taken(tenant) = &self.nodes[id].address.bound else { return None };
        let limit = duration::spell(self.nodes[id].spec.start_timeout);
        let who = words::tenant(tenant.holder.as_ref());
        let reason = format!("{who} is not ready within {limit}: {seen}");
        let failure = match tenant.likeness {
            Some(_) => Failure::Timeout,
            None => Failure::Port,
        };
        Some(Rest::Failed { failure, reason })
    }

    /// Leaves an adopted process to itself.
    pub(super) fn release(&mut self, id: Id, then: Rest, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        effects.push(Effect::Release { service: node.spec.name.clone(), run: node.run });
        self.part(id, then);
    }

    /// The run of a process that was not started here is over; who holds the ports by
    /// now is found out anew.
    pub(super) fn part(&mut self, id: Id, then: Rest) {
        let node = &mut self.nodes[id];
        node.phase = Phase::Rest(then);
        node.check = Check::Done;
        node.replace = false;
        node.address.bound = Bound::No;
    }

    /// Whether an adopted process is still what is wanted in this place.
    pub(super) fn is_as_adopted(&self, id: Id, launched: &Launched) -> bool {
        let node = &self.nodes[id];
        node.evictions == 0
            && match node.spec.adopt {
                Adopt::Any => true,
                Adopt::SameBinary => match self.likeness(id) {
                    Some(likeness) => launched.likeness.as_ref() == Some(&likeness),
                    // What cannot be said any more is no reason to look again.
                    None => launched.likeness.is_some(),
                },
                Adopt::Never => false,
            }
    }

    /// As many processes as one wish may stop.
    pub(super) fn allow_evictions(&mut self, id: Id, wish: bool) {
        let node = &mut self.nodes[id];
        node.evictions = if wish { MOST_EVICTIONS } else { 0 };
        // What was decided and not done yet is decided again.
        match (&node.phase, &node.address.bound) {
            (Phase::Rest(_), Bound::Taken(_)) => node.address.bound = Bound::No,
            (Phase::Rest(_) | Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_), _) => {}
        }
    }
}
