//! One play: people ask for things at random times, the world answers, the clock jumps
//! from one event to the next.

use std::time::Duration;

use xtask_core::plan::Plan;
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

/// No play needs more events.
const MOST_EVENTS: usize = 60_000;

/// So long nothing bad happens before everybody has to be at rest.
const CALM: Duration = Duration::from_secs(400);

/// So long the end may take: twelve services in a chain that ignore everything.
const END: Duration = Duration::from_secs(4_000);

/// The event at which a promise is broken on purpose.
const BROKEN_AT: usize = 25;

pub(crate) struct Played {
    pub(crate) verdict: Verdict,
    pub(crate) coverage: Coverage,
}

struct Play<'a> {
    stack: Stack,
    checkers: Checkers,
    world: World,
    workspace: Overlaid,
    people: Random,
    now: Duration,
    events: usize,
    /// Who pauses before a new try, since the last event: it is over soon.
    pausing: Option<Name>,
    /// Whether the last time that passed was cut short by a pause.
    met: bool,
    coverage: Coverage,
    /// Gets each event before the reducer does, so that one that ends in a panic is there too.
    trace: Option<&'a mut Vec<RecordLine>>,
    /// `XTASK_BREAK`.
    broken: Option<String>,
}

/// Plays a seed to its end, or to the first broken promise.
pub(crate) fn play(seed: u64, trace: Option<&mut Vec<RecordLine>>) -> Played {
    let mut random = Random::new(seed);
    let workspace = Overlaid::random(&mut random);
    let world = World::new(Random::new(random.next()));
    let mut play = Play {
        stack: Stack::new(),
        checkers: Checkers::default(),
        world,
        workspace,
        people: random,
        now: Duration::ZERO,
        events: 0,
        pausing: None,
        met: false,
        coverage: Coverage::default(),
        trace,
        broken: std::env::var("XTASK_BREAK").ok(),
    };
    let verdict = play.run();
    Played { verdict, coverage: play.coverage }
}

impl Play<'_> {
    fn run(&mut self) -> Verdict {
        self.bring_up()?;
        for _ in 0..self.people.below(10) {
            let pause = match self.people.below(3) {
                0 => self.people.millis(0..300),
                1 => self.people.millis(300..5_000),
                _ => self.people.millis(5_000..60_000),
            };
            self.pass(pause)?;
            if self.met && self.people.chance(30) {
                return self.end();
            }
            self.jump()?;
            self.somebody_asks()?;
        }
        if self.people.chance(60) {
            self.world.calm = true;
            // Whatever was built badly is built well now.
            if self.people.chance(50) {
                self.bring_up()?;
            }
            self.pass(CALM)?;
            if let Some(trace) = &mut self.trace {
                trace.push(RecordLine::Check(RecordCheck::Rest));
            }
            self.checkers.at_rest(&self.stack)?;
        }
        self.end()
    }

    /// The machine slept, or was very slow: hours go by between two looks at the clock,
    /// and the first that is noticed is the deadlines, or else what happened meanwhile.
    fn jump(&mut self) -> Verdict {
        if !self.people.chance(5) {
            return Ok(());
        }
        self.now += self.people.millis(60_000..200_000_000);
        if self.people.chance(50) { self.step(Event::Tick) } else { Ok(()) }
    }

    fn end(&mut self) -> Verdict {
        let at_once = self.people.chance(20);
        self.step(if at_once { Event::KillNow } else { Event::Shutdown })?;
        if self.people.chance(10) {
            self.step(Event::Shutdown)?;
        }
        if self.people.chance(30) {
            let pause = self.people.millis(0..8_000);
            self.pass(pause)?;
            if self.people.chance(50) {
                self.somebody_asks()?;
            }
            self.step(Event::KillNow)?;
        }
        self.pass(END)?;
        let survivors = if self.stack.is_over() { Vec::new() } else { self.world.survivors() };
        self.checkers.at_the_end(&survivors)
    }

    fn bring_up(&mut self) -> Verdict {
        let plan = self.workspace.plan(&mut self.people);
        let now = self.now;
        self.world.learn(&plan);
        if self.events == 0 {
            self.strangers_come(&plan);
        }
        self.step(Event::Apply { plan: plan.clone() })?;
        // A plan that comes while the stack ends is refused, and nothing is built for it.
        if !self.checkers.history.shutdown {
            self.world.build(now, &plan);
        }
        Ok(())
    }

    /// Some programs run before the stack does.
    fn strangers_come(&mut self, plan: &Plan) {
        for service in &plan.services {
            if self.people.chance(25) {
                self.world.somebody_comes(&service.name);
            }
        }
    }

    fn somebody_asks(&mut self) -> Verdict {
        if self.people.chance(30) {
            for service in self.some_services() {
                self.world.somebody_comes(&service);
            }
        } else if self.people.chance(20) {
            self.world.somebody_goes(self.now);
        }
        match self.people.below(10) {
            0..=3 => {
                for _ in 0..self.people.below(4) {
                    self.workspace.edit(&mut self.people);
                }
                self.bring_up()
            }
            4 | 5 => {
                let services = self.some_services();
                let only = self.people.chance(30);
                self.step(Event::TakeDown { services, only })
            }
            6..=8 => {
                let services = self.some_services();
                if self.people.chance(20) {
                    return self.step(Event::Replace { services });
                }
                self.step(Event::Restart { services })
            }
            _ => {
                let service = self.some_services().remove(0);
                let fault = *self.people.pick(&[Fault::Kill, Fault::Pause, Fault::Resume]);
                self.step(Event::Fault { service, fault })
            }
        }
    }

    /// Some of the services that the stack knows.
    fn some_services(&mut self) -> Vec<Name> {
        let known: Vec<Name> = self.checkers.history.services.keys().cloned().collect();
        let count = self.people.range(1..4);
        let mut chosen: Vec<Name> = (0..count).map(|_| self.people.pick(&known).clone()).collect();
        chosen.sort();
        chosen.dedup();
        chosen
    }

    /// Lets a time go by, with everything that happens in it.
    fn pass(&mut self, time: Duration) -> Verdict {
        let end = self.now + time;
        self.met = false;
        while !self.stack.is_over() {
            let world = self.world.next_time();
            let deadline = self.stack.next_deadline();
            // Ticks come late now and then, and sometimes for nothing.
            let late =
                if self.people.chance(10) { self.people.millis(0..400) } else { Duration::ZERO };
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
                let twice = (!self.world.calm && self.people.chance(2)).then(|| event.clone());
                self.step(event)?;
                if let Some(event) = twice {
                    self.step(event)?;
                }
            } else {
                self.step(Event::Tick)?;
            }
            if self.people.chance(5) {
                self.step(Event::Tick)?;
            }
            if self.pausing.is_some() && !self.world.calm && self.people.chance(25) {
                return self.meet_a_pause();
            }
            if self.people.chance(3) && !self.world.calm && !self.stack.is_over() {
                let event = noise::event(&mut self.people, &self.checkers.history.runs());
                self.step(event)?;
            }
        }
        self.now = self.now.max(end);
        if self.stack.is_over() { Ok(()) } else { self.step(Event::Tick) }
    }

    /// Much comes while somebody pauses, and nobody waits until the pause is over.
    fn meet_a_pause(&mut self) -> Verdict {
        let Some(name) = self.pausing.take() else { return Ok(()) };
        self.met = true;
        let run = self.checkers.history.services[&name].last_run;
        for _ in 0..self.people.below(4) {
            let event = noise::event(&mut self.people, &[(name.clone(), run)]);
            self.step(event)?;
        }
        match self.people.below(6) {
            0 => self.step(Event::TakeDown { services: vec![name], only: true }),
            1 if self.people.chance(40) => self.step(Event::Replace { services: vec![name] }),
            1 => self.step(Event::Restart { services: vec![name] }),
            _ => Ok(()),
        }
    }

    fn step(&mut self, event: Event) -> Verdict {
        self.events += 1;
        if self.events > MOST_EVENTS {
            let message = format!("{MOST_EVENTS} events, and no end");
            return Err(Violation { checker: "livelock", message });
        }
        // Now and then the clock is said to have gone backwards.
        let back =
            if self.people.chance(1) { self.people.millis(0..9_000) } else { Duration::ZERO };
        // A sign of life that is dated back may come too late.
        let back = if self.world.calm { Duration::ZERO } else { back };
        let now = self.now.saturating_sub(back);
        self.coverage.event(&event);
        if let Some(trace) = &mut self.trace {
            let step =
                RecordStep { effects: None, ..RecordStep::new(now, event.clone(), Vec::new()) };
            trace.push(RecordLine::Step(Box::new(step)));
        }
        let mut verdict = self.checkers.step(&mut self.stack, now, &event);
        self.coverage.effects(&self.checkers.effects);
        if self.events == BROKEN_AT && self.broken.is_some() {
            verdict = self.break_a_promise();
        }
        if let Some(RecordLine::Step(step)) = self.trace.as_mut().and_then(|trace| trace.last_mut())
        {
            step.effects = Some(self.checkers.effects.clone());
        }
        self.pausing = None;
        for effect in core::mem::take(&mut self.checkers.effects) {
            if let Effect::Report(Report::Phase { service, phase: Phase::Backoff, .. }) = &effect {
                self.pausing = Some(service.clone());
            }
            self.world.perform(self.now, &effect);
        }
        verdict
    }
    /// What `XTASK_BREAK` says: a panic, or else an objection.
    fn break_a_promise(&self) -> Verdict {
        match self.broken.as_deref() {
            Some("panic") => panic!("broken on purpose"),
            _ => Err(Violation { checker: "on purpose", message: "broken on purpose".to_owned() }),
        }
    }
}
