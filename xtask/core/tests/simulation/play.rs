//! One play of a seed: requests arrive at random times, the world answers, and the clock jumps from
//! event to event.

use std::time::Duration;

use xtask_core::plan::{Plan, Service};
use xtask_core::record::{RecordCheck, RecordLine, RecordStep};
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Event, Fault, Report, Stack};
use xtask_core::terms::Name;

use crate::checkers::{Checkers, Verdict, Violation};
use crate::coverage::Coverage;
use crate::noise;
use crate::overlay::Overlaid;
use crate::random::Random;
use crate::world::World;

/// The limit of events in a play.
const MAX_EVENTS: usize = 60_000;

/// The time without faults after which the stack must be at rest.
const SETTLE_TIME: Duration = Duration::from_secs(400);

/// The time limit of a shutdown: twelve services in a chain that ignore every signal.
const SHUTDOWN_TIME: Duration = Duration::from_secs(4_000);

/// The event at which `XTASK_BREAK` fails the play.
const BREAK_AT: usize = 25;

pub(crate) struct Played {
    pub(crate) verdict: Verdict,
    pub(crate) coverage: Coverage,
}

struct Play<'a> {
    stack: Stack,
    checkers: Checkers,
    world: World,
    workspace: Overlaid,
    random: Random,
    now: Duration,
    events: usize,
    plans: u64,
    /// The service whose backoff began with the last event.
    backing_off: Option<Name>,
    /// Whether the last `advance` stopped early at a backoff.
    interrupted: bool,
    coverage: Coverage,
    /// Gets each event before the reducer, so that it contains one that panics.
    trace: Option<&'a mut Vec<RecordLine>>,
    /// The value of `XTASK_BREAK`.
    break_with: Option<String>,
}

/// Plays a seed to its end, or to the first violation.
pub(crate) fn play(seed: u64, trace: Option<&mut Vec<RecordLine>>) -> Played {
    let mut random = Random::new(seed);
    let workspace = Overlaid::random(&mut random);
    let world = World::new(Random::new(random.next()));
    let mut play = Play {
        stack: Stack::new(),
        checkers: Checkers::default(),
        world,
        workspace,
        random,
        now: Duration::ZERO,
        events: 0,
        plans: 0,
        backing_off: None,
        interrupted: false,
        coverage: Coverage::default(),
        trace,
        break_with: std::env::var("XTASK_BREAK").ok(),
    };
    let verdict = play.run();
    Played { verdict, coverage: play.coverage }
}

impl Play<'_> {
    fn run(&mut self) -> Verdict {
        self.bring_up()?;
        for _ in 0..self.random.below(10) {
            let pause = match self.random.below(3) {
                0 => self.random.millis(0..300),
                1 => self.random.millis(300..5_000),
                _ => self.random.millis(5_000..60_000),
            };
            self.advance(pause)?;
            if self.interrupted && self.random.chance(30) {
                return self.end();
            }
            self.jump_clock()?;
            self.make_request()?;
        }
        if self.random.chance(60) {
            self.world.without_faults = true;
            // A new build succeeds now.
            if self.random.chance(50) {
                self.bring_up()?;
            }
            self.advance(SETTLE_TIME)?;
            if let Some(trace) = &mut self.trace {
                trace.push(RecordLine::Check(RecordCheck::Rest));
            }
            self.checkers.at_rest(&self.stack)?;
        }
        self.end()
    }

    /// The machine was suspended or very slow, and the clock jumps by hours. The stack sees its
    /// deadlines first, or else the events.
    fn jump_clock(&mut self) -> Verdict {
        if !self.random.chance(5) {
            return Ok(());
        }
        self.now += self.random.millis(60_000..200_000_000);
        if self.random.chance(50) { self.step(Event::Tick) } else { Ok(()) }
    }

    fn end(&mut self) -> Verdict {
        let at_once = self.random.chance(20);
        self.step(if at_once { Event::KillNow } else { Event::Shutdown })?;
        if self.random.chance(10) {
            self.step(Event::Shutdown)?;
        }
        if self.random.chance(30) {
            let pause = self.random.millis(0..8_000);
            self.advance(pause)?;
            if self.random.chance(50) {
                self.make_request()?;
            }
            self.step(Event::KillNow)?;
        }
        self.advance(SHUTDOWN_TIME)?;
        let survivors = if self.stack.is_over() { Vec::new() } else { self.world.survivors() };
        self.checkers.at_the_end(&survivors)
    }

    fn bring_up(&mut self) -> Verdict {
        let mut plan = self.workspace.plan(&mut self.random);
        self.plans += 1;
        plan.context = self.plans;
        if self.events == 0 {
            // An earlier stack did some jobs.
            let is_done =
                |job: &&Service| job.once && job.stop.timeout.as_millis().is_multiple_of(2);
            let done = plan.services.iter().filter(is_done).map(|job| job.name.clone());
            self.world.done.extend(done);
        }
        let once =
            plan.services.iter().filter(|job| job.once && self.world.done.contains(&job.name));
        plan.done = once.map(|job| job.name.clone()).collect();
        let now = self.now;
        self.world.add_plan(&plan);
        if self.events == 0 {
            self.start_port_holders(&plan);
        }
        self.step(Event::Apply { plan: plan.clone() })?;
        // The stack refuses a plan during its shutdown.
        if !self.checkers.history.shutdown {
            self.world.build(now, &plan);
        }
        Ok(())
    }

    /// Starts some programs before the stack.
    fn start_port_holders(&mut self, plan: &Plan) {
        for service in &plan.services {
            if self.random.chance(25) {
                self.world.start_port_holder(&service.name);
            }
        }
    }

    fn make_request(&mut self) -> Verdict {
        if self.random.chance(30) {
            for service in self.some_services() {
                self.world.start_port_holder(&service);
            }
        } else if self.random.chance(20) {
            self.world.stop_port_holder(self.now);
        }
        match self.random.below(10) {
            0..=3 => {
                for _ in 0..self.random.below(4) {
                    self.workspace.edit(&mut self.random);
                }
                self.bring_up()
            }
            4 | 5 => {
                let services = self.some_services();
                let only = self.random.chance(30);
                self.step(Event::TakeDown { services, only })
            }
            6..=8 => {
                let services = self.some_services();
                if self.random.chance(20) {
                    return self.step(Event::Replace { services });
                }
                self.step(Event::Restart { services })
            }
            _ => {
                let service = self.some_services().remove(0);
                let fault = *self.random.pick(&[Fault::Kill, Fault::Pause, Fault::Resume]);
                self.step(Event::Fault { service, fault })
            }
        }
    }

    fn some_services(&mut self) -> Vec<Name> {
        let known: Vec<Name> = self.checkers.history.services.keys().cloned().collect();
        let count = self.random.range(1..4);
        let mut chosen: Vec<Name> = (0..count).map(|_| self.random.pick(&known).clone()).collect();
        chosen.sort();
        chosen.dedup();
        chosen
    }

    /// Advances the clock, with all events until then.
    fn advance(&mut self, time: Duration) -> Verdict {
        let end = self.now + time;
        self.interrupted = false;
        while !self.stack.is_over() {
            let world = self.world.next_time();
            let deadline = self.stack.next_deadline();
            // Some ticks are late, and some have no deadline.
            let late =
                if self.random.chance(10) { self.random.millis(0..400) } else { Duration::ZERO };
            let tick = deadline.map(|deadline| deadline.max(self.now) + late);
            let next = match (world, tick) {
                (None, None) => break,
                (Some(world), Some(tick)) => world.min(tick),
                (Some(only), None) | (None, Some(only)) => only,
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if world.is_some_and(|world| tick.is_none_or(|tick| world <= tick)) {
                let Some(event) = self.world.next_event(self.now) else { continue };
                let twice =
                    (!self.world.without_faults && self.random.chance(2)).then(|| event.clone());
                self.step(event)?;
                if let Some(event) = twice {
                    self.step(event)?;
                }
            } else {
                self.step(Event::Tick)?;
            }
            if self.random.chance(5) {
                self.step(Event::Tick)?;
            }
            if self.backing_off.is_some() && !self.world.without_faults && self.random.chance(25) {
                return self.interrupt_backoff();
            }
            if self.random.chance(5) && !self.world.without_faults && !self.stack.is_over() {
                let event = noise::event(&mut self.random, &self.checkers.history.runs());
                self.step(event)?;
            }
        }
        self.now = self.now.max(end);
        if self.stack.is_over() { Ok(()) } else { self.step(Event::Tick) }
    }

    /// Sends events and requests during a backoff, without waiting for its end.
    fn interrupt_backoff(&mut self) -> Verdict {
        let Some(name) = self.backing_off.take() else { return Ok(()) };
        self.interrupted = true;
        let runs = [self.checkers.history.runs_of(&name)];
        for _ in 0..self.random.below(4) {
            let event = noise::event(&mut self.random, &runs);
            self.step(event)?;
        }
        match self.random.below(6) {
            0 => self.step(Event::TakeDown { services: vec![name], only: true }),
            1 if self.random.chance(40) => self.step(Event::Replace { services: vec![name] }),
            1 => self.step(Event::Restart { services: vec![name] }),
            2 => self.step(Event::Calls { calls: Vec::new(), elsewhere: Default::default() }),
            _ => Ok(()),
        }
    }

    fn step(&mut self, event: Event) -> Verdict {
        self.events += 1;
        if self.events > MAX_EVENTS {
            let message = format!("{MAX_EVENTS} events without an end");
            return Err(Violation { checker: "livelock", message });
        }
        // Sometimes the clock goes backwards.
        let back =
            if self.random.chance(1) { self.random.millis(0..9_000) } else { Duration::ZERO };
        // A watchdog ping at an earlier time may be too late.
        let back = if self.world.without_faults { Duration::ZERO } else { back };
        let now = self.now.saturating_sub(back);
        self.coverage.event(&event);
        if let Some(trace) = &mut self.trace {
            let step =
                RecordStep { effects: None, ..RecordStep::new(now, event.clone(), Vec::new()) };
            trace.push(RecordLine::Step(Box::new(step)));
        }
        let mut verdict = self.checkers.step(&mut self.stack, now, &event);
        self.coverage.effects(&self.checkers.effects);
        if self.events == BREAK_AT && self.break_with.is_some() {
            verdict = self.break_on_purpose();
        }
        if let Some(RecordLine::Step(step)) = self.trace.as_mut().and_then(|trace| trace.last_mut())
        {
            step.effects = Some(self.checkers.effects.clone());
        }
        self.backing_off = None;
        for effect in core::mem::take(&mut self.checkers.effects) {
            if let Effect::Report(Report::Phase { service, phase: Phase::Backoff, .. }) = &effect {
                self.backing_off = Some(service.clone());
            }
            self.world.perform(self.now, &effect);
        }
        verdict
    }

    /// Fails as `XTASK_BREAK` sets: with a panic or a violation.
    fn break_on_purpose(&self) -> Verdict {
        match self.break_with.as_deref() {
            Some("panic") => panic!("broken on purpose"),
            _ => Err(Violation { checker: "on purpose", message: "broken on purpose".to_owned() }),
        }
    }
}
