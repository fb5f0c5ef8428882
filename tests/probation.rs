//! The registry against a plain model of probation: random operations, one thread, a manual clock
//! that likes to stop one tick before, on and after each boundary.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod model;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Address, End, Mode, NEUTRAL, Rules, Told};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use risefall::{
    Admission, Attempt, Cause, Endpoint, ManualClock, Outcome, Permit, Policy, Recovery, Registry,
    State, Weight,
};

const TICK: Duration = Duration::from_millis(4);
const ADDRESSES: u8 = 8;

#[derive(Clone, Copy, Debug)]
enum Op {
    Fail(u8),
    Trip(u8),
    Rise(u8),
    Limit(u8, u8),
    Admit(u8),
    /// Ends the permit held longest, if there is one.
    Settle(Ending),
    Begin(u8),
    /// Ends the attempt begun longest ago.
    End(Ending),
    Force(u8, u8),
    Release(u8),
    Reset(u8),
    Pin(u8),
    Unpin(u8),
    /// To a boundary of an address, or by so many ticks.
    Advance(Step),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Success,
    Failure,
    Cancelled,
    Dropped,
    /// Never told: the lease has to end.
    Leaked,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ticks(u64),
    /// To the end of what is told of an address, and so many ticks past it.
    Boundary(u8, i8),
}

fn op(timeout: u64) -> impl Strategy<Value = Op> {
    let address = 0..ADDRESSES;
    let ending = prop_oneof![
        3 => Just(Ending::Success), 3 => Just(Ending::Failure), 1 => Just(Ending::Cancelled),
        1 => Just(Ending::Dropped), 1 => Just(Ending::Leaked),
    ];
    let step = prop_oneof![
        2 => prop_oneof![Just(0), Just(1), Just(timeout - 1), Just(timeout), Just(timeout + 1),
                         0..=timeout * 12].prop_map(Step::Ticks),
        3 => (address.clone(), -2i8..=1).prop_map(|(n, past)| Step::Boundary(n, past)),
    ];
    prop_oneof![
        8 => address.clone().prop_map(Op::Fail),
        1 => address.clone().prop_map(Op::Trip),
        4 => address.clone().prop_map(Op::Rise),
        1 => (address.clone(), 0..40u8).prop_map(|(n, span)| Op::Limit(n, span)),
        6 => address.clone().prop_map(Op::Admit),
        4 => ending.clone().prop_map(Op::Settle),
        2 => address.clone().prop_map(Op::Begin),
        2 => ending.prop_map(Op::End),
        1 => (address.clone(), 0..3u8).prop_map(|(n, how)| Op::Force(n, how)),
        1 => address.clone().prop_map(Op::Release),
        1 => address.clone().prop_map(Op::Reset),
        1 => address.clone().prop_map(Op::Pin),
        1 => address.prop_map(Op::Unpin),
        6 => step.prop_map(Op::Advance),
    ]
}

#[derive(Clone, Debug)]
struct Run {
    rules: Rules,
    capacity: usize,
    /// Another reader of the same evidence.
    other: Rules,
    ops: Vec<Op>,
}

fn rules() -> impl Strategy<Value = Rules> {
    let probes = prop::option::weighted(0.8, (1..4u32, 1..40u64));
    (1..5u32, 1..4u32, 2..50u64, 0..200u64, 1..300u64, probes).prop_map(
        |(max_fails, min_rises, fail_timeout, more, forget_after, probes)| Rules {
            max_fails,
            min_rises,
            fail_timeout,
            max_fail_timeout: fail_timeout + more,
            forget_after,
            probes,
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    (rules(), rules(), 1..=12usize).prop_flat_map(|(rules, other, capacity)| {
        // The other one reads with thresholds of its own; time and recovery are the same, since
        // the model keeps one address's time once.
        let other = Rules {
            max_fails: other.max_fails,
            min_rises: other.min_rises,
            ..rules
        };
        prop::collection::vec(op(rules.fail_timeout), 1..80).prop_map(move |ops| Run {
            rules,
            capacity,
            other,
            ops,
        })
    })
}

fn policy(rules: &Rules) -> Policy {
    let ticks = |ticks: u64| TICK * ticks as u32;
    Policy::builder()
        .max_fails(rules.max_fails as u8)
        .min_rises(rules.min_rises as u8)
        .fail_timeout(ticks(rules.fail_timeout))
        .max_fail_timeout(ticks(rules.max_fail_timeout))
        .forget_after(ticks(rules.forget_after))
        .stall_after(ticks(STALL))
        .weight(Cause::Tls, Weight::Trip)
        .recovery(match rules.probes {
            None => Recovery::Open,
            Some((permits, lease)) => Recovery::Probe {
                permits: permits as u8,
                lease: ticks(lease),
            },
        })
        .build()
        .unwrap()
}

/// From when on a drop is a failure.
const STALL: u64 = 6;

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 80))
}

fn told(state: State) -> Told {
    match state {
        State::Up => Told::Up,
        State::Down => Told::Down,
        State::ProbeDue => Told::ProbeDue,
        State::Probing => Told::Probing,
        State::SetAside => Told::SetAside,
        State::ForcedUp => Told::ForcedUp,
        State::ForcedDown => Told::ForcedDown,
        State::Drained => Told::Drained,
        other => panic!("{other}"),
    }
}

struct Begun<'a> {
    n: u8,
    attempt: Attempt<'a>,
    changes: u64,
    at: u64,
    /// Keeps the record, and with it the generation; without, it may be evicted and come again.
    pin: Option<Endpoint>,
}

struct World<'a> {
    rules: Rules,
    other: Rules,
    registry: &'a Registry,
    strict: Registry,
    clock: Arc<ManualClock>,
    now: u64,
    addresses: Vec<Address>,
    pins: HashMap<u8, Endpoint>,
    permits: Vec<(u8, Permit, model::Permit)>,
    begun: Vec<Begun<'a>>,
}

impl World<'_> {
    /// Does it to both. A first failure that found no room is not tracked; nothing else may be lost.
    fn tracked(
        &mut self,
        n: u8,
        real: impl FnOnce(&Registry),
        model: impl FnOnce(&mut Address, &Rules, u64),
    ) -> Result<(), TestCaseError> {
        let before = self.registry.overflow();
        real(self.registry);
        let (rules, now) = (self.rules, self.now);
        let address = &mut self.addresses[n as usize];
        if self.registry.overflow() == before {
            model(address, &rules, now);
        } else {
            prop_assert!(address.lapsed(&rules, now).is_neutral(), "{:?}", address);
        }
        Ok(())
    }

    fn apply(&mut self, op: Op) -> Result<(), TestCaseError> {
        let (rules, now) = (self.rules, self.now);
        match op {
            Op::Fail(n) => self.tracked(
                n,
                |registry| registry.add_fall_down(address(n)),
                |model, rules, now| model.fail(rules, now, false),
            )?,
            Op::Trip(n) => self.tracked(
                n,
                |registry| registry.record(address(n), Outcome::Failed(Cause::Tls)),
                |model, rules, now| model.fail(rules, now, true),
            )?,
            Op::Rise(n) => {
                match self.pins.get(&n) {
                    Some(endpoint) => endpoint.add_rise_up(),
                    None => self.registry.add_rise_up(address(n)),
                }
                self.addresses[n as usize].succeed(&rules, now);
            }
            Op::Limit(n, code) => {
                // Spans that are kept as they are.
                let span = (16 + u64::from(code) % 16) << (code / 16);
                let retry_after = TICK * span as u32;
                self.tracked(
                    n,
                    |registry| registry.record(address(n), Outcome::RateLimited { retry_after }),
                    |model, rules, now| model.limit(rules, now, span),
                )?;
            }
            Op::Admit(n) => self.admit(n)?,
            Op::Settle(ending) if !self.permits.is_empty() => {
                let (n, permit, modelled) = self.permits.remove(0);
                let model = &mut self.addresses[n as usize];
                if let Some(end) = settle(permit, ending, now - modelled.began) {
                    model.settle(&rules, now, modelled, end);
                }
            }
            Op::Settle(_) => {}
            // The pin comes first: it is what the attempt's record is kept by.
            Op::Begin(n) => self.begun.push(Begun {
                pin: (n % 2 == 0).then(|| self.registry.endpoint(address(n))),
                n,
                attempt: self.registry.attempt(&address(n)),
                changes: self.addresses[n as usize].changes,
                at: now,
            }),
            Op::End(ending) if !self.begun.is_empty() => self.end(ending)?,
            Op::End(_) => {}
            Op::Force(n, how) => {
                let mode = match how {
                    0 => Mode::ForcedUp,
                    1 => Mode::ForcedDown,
                    _ => Mode::Drained,
                };
                match mode {
                    Mode::ForcedUp => self.registry.force_up(address(n)),
                    Mode::ForcedDown => self.registry.force_down(address(n)),
                    _ => self.registry.drain(address(n)),
                }
                self.addresses[n as usize].force(&rules, now, mode);
            }
            Op::Release(n) => {
                self.registry.release(address(n));
                self.addresses[n as usize].release(now);
            }
            Op::Reset(n) => {
                self.registry.reset(address(n));
                self.addresses[n as usize].reset(&rules, now);
            }
            Op::Pin(n) => {
                self.pins.insert(n, self.registry.endpoint(address(n)));
            }
            Op::Unpin(n) => {
                self.pins.remove(&n);
            }
            Op::Advance(step) => {
                let ticks = match step {
                    Step::Ticks(ticks) => ticks,
                    Step::Boundary(n, past) => {
                        let left = self.addresses[n as usize].told(&rules, now).1;
                        left.saturating_add_signed(past.into())
                    }
                };
                self.clock.advance(TICK * ticks as u32);
                self.now += ticks;
            }
        }
        Ok(())
    }

    fn admit(&mut self, n: u8) -> Result<(), TestCaseError> {
        let model = &mut self.addresses[n as usize];
        let (told, left) = model.told(&self.rules, self.now);
        let permit = model.admit(&self.rules, self.now);
        let admission = match self.pins.get(&n) {
            Some(endpoint) => endpoint.try_admit(),
            None => self.registry.try_admit(&address(n)),
        };
        match (admission, permit) {
            (Admission::Probe(real), Some(permit)) => {
                prop_assert_eq!(real.address(), address(n));
                self.permits.push((n, real, permit));
            }
            (Admission::Pass, None) => prop_assert!(matches!(told, Told::Up | Told::ForcedUp)),
            (Admission::Deny { state, retry_in }, None) => {
                prop_assert_eq!(self::told(state), told);
                prop_assert_eq!(retry_in, (left > 0).then(|| TICK * left as u32));
            }
            (admission, permit) => prop_assert!(false, "{:?} but {:?}", admission, permit),
        }
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> Result<(), TestCaseError> {
        let Begun {
            n,
            attempt,
            changes,
            at,
            pin,
        } = self.begun.remove(0);
        let (rules, now) = (self.rules, self.now);
        let model = self.addresses[n as usize];
        let is_current = model.changes == changes;
        // A record that was evicted and came again begins anew, and the generation turns over after
        // eight: in both cases what is void here may count there. And a first failure may find no
        // room.
        let may_differ = !is_current && (pin.is_none() || model.changes - changes >= 8)
            || pin.is_none() && model.lapsed(&rules, now).is_neutral();
        if may_differ {
            // Nothing is told, so that nothing can be.
            if now - at < STALL {
                drop(attempt);
            } else {
                attempt.end(Outcome::Cancelled);
            }
            return Ok(());
        }
        let before = self.registry.overflow();
        let has_failed = match ending {
            Ending::Success => {
                attempt.end(Outcome::Success);
                Some(false)
            }
            Ending::Failure => {
                attempt.end(Outcome::Failed(Cause::Refused));
                Some(true)
            }
            Ending::Cancelled => {
                attempt.end(Outcome::Cancelled);
                None
            }
            Ending::Dropped => {
                drop(attempt);
                (now - at >= STALL).then_some(true)
            }
            Ending::Leaked => {
                std::mem::forget(attempt);
                None
            }
        };
        prop_assert_eq!(self.registry.overflow(), before);
        let model = &mut self.addresses[n as usize];
        match has_failed {
            Some(true) if is_current => model.fail(&rules, now, false),
            Some(false) if is_current => model.succeed(&rules, now),
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for n in 0..ADDRESSES {
            let status = self.registry.status(&address(n));
            self.learn_jitter(n, status.retry_in)?;
            let model = &self.addresses[n as usize];
            let (state, left) = model.told(&self.rules, self.now);
            prop_assert_eq!(told(status.state), state, "{:?} of {:?}", n, model);
            prop_assert_eq!(status.retry_in, (left > 0).then(|| TICK * left as u32));
            let current = model.lapsed(&self.rules, self.now.max(model.at));
            prop_assert_eq!(u32::from(status.trips), current.trips, "{:?}", model);
            let is_down = model.is_down(&self.rules, self.now);
            prop_assert_eq!(self.registry.is_fall_down(&address(n)), is_down);
            let by_other = model.told(&self.other, self.now).0;
            let other = self.strict.status(&address(n)).state;
            prop_assert_eq!(told(other), by_other, "by {:?} of {:?}", self.other, model);
            if let Some(endpoint) = self.pins.get(&n) {
                prop_assert_eq!(endpoint.is_fall_down(), is_down);
                prop_assert_eq!(told(endpoint.status().state), state);
            }
        }
        Ok(())
    }

    /// Takes over how long it is down, if that lies where it has to.
    fn learn_jitter(&mut self, n: u8, retry_in: Option<Duration>) -> Result<(), TestCaseError> {
        let (rules, now) = (self.rules, self.now);
        let model = &mut self.addresses[n as usize];
        let is_new = matches!(model.mode, Mode::Down { .. }) && model.down_for.is_none();
        let is_told = model.told(&rules, now).0 == Told::Down;
        if is_new && is_told && now == model.at {
            let left = retry_in.expect("it has just gone down").as_millis() as u64 / 4 - 1;
            let (least, most) = rules.down_time(model.trips);
            prop_assert!((least..=most).contains(&left), "{} of {:?}", left, model);
            model.down_for = Some(left);
        }
        Ok(())
    }
}

/// Ends the permit; how that is to be understood, or nothing if nothing will be told.
fn settle(permit: Permit, ending: Ending, silent: u64) -> Option<End> {
    match ending {
        Ending::Success => permit.end(Outcome::Success),
        Ending::Failure => permit.end(Outcome::Failed(Cause::TimedOut)),
        Ending::Cancelled => permit.end(Outcome::Cancelled),
        Ending::Dropped => drop(permit),
        Ending::Leaked => std::mem::forget(permit),
    }
    match ending {
        Ending::Success => Some(End::Succeeded),
        Ending::Failure => Some(End::Failed),
        Ending::Dropped if silent >= STALL => Some(End::Failed),
        Ending::Cancelled | Ending::Dropped => Some(End::GivenBack),
        Ending::Leaked => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_registry_agrees_with_the_model_of_probation(run in run()) {
        let clock = Arc::new(ManualClock::new());
        let registry = Registry::builder()
            .policy(policy(&run.rules))
            .capacity(run.capacity)
            .clock(clock.clone())
            .build();
        let mut world = World {
            rules: run.rules,
            other: run.other,
            registry: &registry,
            strict: registry.with_policy(policy(&run.other)),
            clock,
            now: 0,
            addresses: vec![NEUTRAL; ADDRESSES.into()],
            pins: HashMap::new(),
            permits: Vec::new(),
            begun: Vec::new(),
        };
        for op in run.ops {
            world.apply(op)?;
            world.check()?;
        }
        // What is left is told to nobody, in particular not by drops in a finished world.
        world.permits.drain(..).for_each(|(_, permit, _)| std::mem::forget(permit));
    }
}
