//! A registry and the model side by side: each operation is applied to both, and they must agree.

use std::sync::Arc;
use std::time::Duration;

use risefall::{
    Admission, Attempt, Cause, Clock, Endpoint, ManualClock, Outcome, Permit, Registry, State,
    Status, Transitions,
};

use super::operations::{Op, Run};
use crate::model::{Address, Admitted, News, Override, Reading, Rules, TICK, ticks};
use crate::{ADDRESSES, address};

/// A permit that is out.
struct Probe {
    n: usize,
    rules: usize,
    lease: u64,
    began: u64,
    permit: Permit,
}

/// A use that is going on.
struct Use<'a> {
    n: usize,
    rules: usize,
    /// The changes of verdict before it.
    changes: u64,
    began: u64,
    attempt: Attempt<'a>,
}

/// What an attempt's outcome is worth.
enum Worth {
    Counts,
    Void,
    /// The address was neutral since its verdict changed; whether its record survived that is
    /// not to be seen.
    Either,
}

struct World<'a> {
    rules: &'a [Rules],
    clock: &'a ManualClock,
    /// One for each policy. The first is the registry's own.
    handles: &'a [Registry],
    /// As the handles, but told the time left of whatever is down.
    learners: &'a [Registry],
    told: Transitions,
    now: u64,
    addresses: Vec<Address>,
    /// The changes of verdict when it was last without evidence and without a pin.
    neutral_at: Vec<u64>,
    pins: Vec<Option<Vec<Endpoint>>>,
    permits: Vec<Probe>,
    uses: Vec<Use<'a>>,
}

impl<'a> World<'a> {
    fn apply(&mut self, op: Op) -> Result<(), String> {
        let count = self.rules.len();
        match op {
            Op::Record(h, n, outcome) => self.record(h % count, n, outcome),
            Op::Admit(h, n) => self.admit(h % count, n),
            Op::EndPermit(i, outcome) if !self.permits.is_empty() => {
                let probe = self.permits.swap_remove(i % self.permits.len());
                self.end_permit(probe, outcome)
            }
            Op::Begin(h, n) => {
                let h = h % count;
                self.uses.push(Use {
                    n,
                    rules: h,
                    changes: self.addresses[n].changes(),
                    began: self.now,
                    attempt: self.handles[h].attempt(&address(n)),
                });
                Ok(())
            }
            Op::EndAttempt(i, outcome) if !self.uses.is_empty() => {
                let ended = self.uses.swap_remove(i % self.uses.len());
                self.end_use(ended, outcome)
            }
            Op::Force(h, n, to) => {
                let (h, at) = (h % count, address(n));
                match (to, self.pin(n, h)) {
                    (Override::Up, Some(pin)) => pin.force_up(),
                    (Override::Up, None) => self.handles[h].force_up(at),
                    (Override::Down, Some(pin)) => pin.force_down(),
                    (Override::Down, None) => self.handles[h].force_down(at),
                    (Override::Drained, Some(pin)) => pin.drain(),
                    (Override::Drained, None) => self.handles[h].drain(at),
                }
                let mut after = self.addresses[n].clone();
                after.force(to, &self.rules[h], self.now);
                self.adopt(n, h, vec![after])
            }
            Op::Release(h, n) => {
                let h = h % count;
                match self.pin(n, h) {
                    Some(pin) => pin.release(),
                    None => self.handles[h].release(address(n)),
                }
                let mut after = self.addresses[n].clone();
                after.release(self.now);
                self.adopt(n, h, vec![after])
            }
            Op::Reset(h, n) => {
                let h = h % count;
                match self.pin(n, h) {
                    Some(pin) => pin.reset(),
                    None => self.handles[h].reset(address(n)),
                }
                let mut after = self.addresses[n].clone();
                after.reset(&self.rules[h], self.now);
                self.adopt(n, h, vec![after])
            }
            Op::Pin(n) => {
                let pins = self.handles.iter().map(|h| h.endpoint(address(n)));
                self.pins[n] = Some(pins.collect());
                Ok(())
            }
            Op::Unpin(n) => {
                self.pins[n] = None;
                Ok(())
            }
            Op::Sweep => {
                self.handles[0].sweep();
                Ok(())
            }
            Op::Advance(by) => {
                self.advance(by);
                Ok(())
            }
            Op::AdvanceTo(n, h, i, by) => {
                let mut ends = self.addresses[n].boundaries(&self.rules[h % count]);
                ends.retain(|end| end + by > self.now);
                if !ends.is_empty() {
                    // `by` 0 is one before the last tick of what ends, 2 the first without it.
                    self.advance((ends[i % ends.len()] + by - self.now).saturating_sub(1));
                }
                Ok(())
            }
            Op::Probe(h, n) => {
                self.apply(Op::Record(h, n, Outcome::Failed(Cause::Tls)))?;
                self.apply(Op::AdvanceTo(n, h, 0, 2))?;
                self.apply(Op::Admit(h, n))
            }
            Op::EndPermit(..) | Op::EndAttempt(..) => Ok(()),
        }?;
        self.check()
    }

    fn advance(&mut self, by: u64) {
        self.clock.advance(ticks(by));
        self.now += by;
        assert_eq!(self.clock.elapsed() / 4, Duration::from_millis(self.now));
    }

    fn pin(&self, n: usize, h: usize) -> Option<&Endpoint> {
        self.pins[n].as_ref().map(|pins| &pins[h])
    }

    fn record(&mut self, h: usize, n: usize, outcome: Outcome) -> Result<(), String> {
        let before = self.handles[0].overflow();
        match self.pin(n, h) {
            Some(pin) => pin.record(outcome),
            None => self.handles[h].record(address(n), outcome),
        }
        let mut after = self.addresses[n].clone();
        if self.handles[0].overflow() == before {
            after.record(News::of(outcome), &self.rules[h], self.now);
        } else {
            self.check_refused(n)?;
        }
        self.adopt(n, h, vec![after])
    }

    /// Only what nothing is held against may be refused a record.
    fn check_refused(&self, n: usize) -> Result<(), String> {
        let known = &self.addresses[n];
        let is_neutral = |rules: &Rules| known.is_neutral(rules, self.now);
        if self.rules.iter().all(is_neutral) {
            return Ok(());
        }
        Err(format!("evidence against {n} was evicted: {known:?}"))
    }

    fn admit(&mut self, h: usize, n: usize) -> Result<(), String> {
        let admission = match self.pin(n, h) {
            Some(pin) => pin.try_admit(),
            None => self.handles[h].try_admit(&address(n)),
        };
        let mut after = self.addresses[n].clone();
        let expected = after.admit(&self.rules[h], self.now);
        let told = format!("admission to {n} by {h}: {admission:?}, expected {expected:?}");
        match (admission, expected) {
            (Admission::Pass, Admitted::Pass) => {}
            (Admission::Deny { state, retry_in }, Admitted::Deny(expected, left))
                if state == expected && retry_in == left.map(ticks) => {}
            (Admission::Probe(permit), Admitted::Probe(lease)) => self.permits.push(Probe {
                n,
                rules: h,
                lease,
                began: self.now,
                permit,
            }),
            _ => return Err(told),
        }
        self.adopt(n, h, vec![after])
    }

    fn end_permit(&mut self, probe: Probe, outcome: Option<Outcome>) -> Result<(), String> {
        let rules = &self.rules[probe.rules];
        let is_silent = self.now - probe.began >= rules.stall_after;
        let news = match outcome {
            Some(outcome) => News::of(outcome),
            None if is_silent => News::Fail,
            None => News::Nothing,
        };
        match outcome {
            Some(outcome) => probe.permit.end(outcome),
            None => drop(probe.permit),
        }
        let mut after = self.addresses[probe.n].clone();
        after.settle(probe.lease, news, rules, self.now);
        self.adopt(probe.n, probe.rules, vec![after])
    }

    fn end_use(&mut self, ended: Use<'a>, outcome: Option<Outcome>) -> Result<(), String> {
        let n = ended.n;
        let rules = &self.rules[ended.rules];
        let is_silent = self.now - ended.began >= rules.stall_after;
        let news = match outcome {
            Some(outcome) => News::of(outcome),
            None if is_silent => News::Fail,
            None => News::Nothing,
        };
        let known = self.addresses[n].clone();
        let worth = match known.changes() - ended.changes {
            0 => Worth::Counts,
            _ if self.neutral_at[n] == known.changes() => Worth::Either,
            // Generations are counted modulo eight.
            missed if missed >= 8 => Worth::Either,
            _ => Worth::Void,
        };
        let overflow = self.handles[0].overflow();
        match outcome {
            Some(outcome) => ended.attempt.end(outcome),
            None => drop(ended.attempt),
        }
        let mut counted = known.clone();
        counted.record(news, rules, self.now);
        let after = match worth {
            _ if self.handles[0].overflow() != overflow => {
                self.check_refused(n)?;
                vec![known]
            }
            Worth::Counts => vec![counted],
            Worth::Void => vec![known],
            Worth::Either => vec![known, counted],
        };
        self.adopt(n, ended.rules, after)
    }

    /// Takes the first of the candidates that agrees with what the registry says; it must have
    /// told the change, if it is one.
    fn adopt(&mut self, n: usize, h: usize, candidates: Vec<Address>) -> Result<(), String> {
        let told: Vec<_> = self.told.by_ref().collect();
        let mut faults = Vec::new();
        for mut after in candidates {
            let known = &self.addresses[n];
            let from = known.read(&self.rules[h], self.now).state;
            let expected = (after.changes() > known.changes()).then(|| after.told());
            let is_told = match (told.as_slice(), expected) {
                ([], None) => true,
                ([change], Some(to)) => {
                    (change.address, change.from, change.to) == (address(n), from, to)
                }
                _ => false,
            };
            let agrees = self
                .learn(n, &mut after)
                .and_then(|()| self.agrees(n, &after));
            match agrees {
                Ok(()) if is_told => {
                    self.addresses[n] = after;
                    return Ok(());
                }
                Ok(()) => faults.push(format!(
                    "{n} from {from:?} to {expected:?}, but told {told:?}"
                )),
                Err(fault) => faults.push(fault),
            }
        }
        Err(faults.join("; "))
    }

    /// How long the trip takes it down: not to be foretold, but it has its limits.
    fn learn(&self, n: usize, after: &mut Address) -> Result<(), String> {
        for (rules, learner) in self.rules.iter().zip(self.learners) {
            let Some(range) = after.unlearned(rules) else {
                continue;
            };
            let status = learner.status(&address(n));
            let (State::Down, Some(left)) = (status.state, status.retry_in) else {
                return Err(format!("{n} is not down after a trip: {status:?}"));
            };
            // Just now, so its age is zero; the last tick belongs to it.
            let down_for = whole(left) - 1;
            if !range.contains(&down_for) {
                return Err(format!("{n} is down for {down_for}, not within {range:?}"));
            }
            after.learn(rules, down_for);
        }
        Ok(())
    }

    fn agrees(&self, n: usize, known: &Address) -> Result<(), String> {
        for (h, (rules, handle)) in self.rules.iter().zip(self.handles).enumerate() {
            let expected = known.read(rules, self.now);
            let status = handle.status(&address(n));
            let mut is_right = reads_as(&status, &expected)
                && handle.is_fall_down(&address(n)) == expected.state.is_down();
            if let Some(pin) = self.pin(n, h) {
                is_right &= reads_as(&pin.status(), &expected)
                    && pin.is_fall_down() == expected.state.is_down();
            }
            if !is_right {
                return Err(format!(
                    "{n} by {h} at {}: {status:?}, expected {expected:?} of {known:?}",
                    self.now
                ));
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        for n in 0..ADDRESSES {
            let known = &self.addresses[n];
            self.agrees(n, known)?;
            if self.pins[n].is_none() && known.is_neutral(&self.rules[0], self.now) {
                self.neutral_at[n] = known.changes();
            }
        }
        match self.told.next() {
            None => Ok(()),
            Some(change) => Err(format!("told of no change: {change:?}")),
        }
    }
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() / TICK.as_nanos()).unwrap()
}

fn reads_as(status: &Status, expected: &Reading) -> bool {
    status.state == expected.state
        && status.retry_in == expected.retry_in.map(ticks)
        && status.failures == expected.failures
        && status.successes == expected.successes
        && status.trips == expected.trips
}

pub(super) fn agree(run: &Run) -> Result<(), String> {
    let clock = Arc::new(ManualClock::new());
    let registry = Registry::builder()
        .policy(run.rules[0].policy())
        .capacity(run.capacity)
        .clock(clock.clone())
        .build();
    let others = run.rules.iter().skip(1);
    let mut handles = vec![registry.clone()];
    handles.extend(others.map(|rules| registry.with_policy(rules.policy())));
    let eager = |rules: &Rules| Rules {
        max_fails: 1,
        min_rises: u8::MAX,
        ..rules.clone()
    };
    // Alone, a handle is told Down by all that it takes down. More handles would keep records for
    // longer, and there should be runs in which they go as soon as they may.
    let learners = match run.rules.len() {
        1 => handles.clone(),
        _ => {
            let eager = run.rules.iter().map(|rules| eager(rules).policy());
            eager.map(|policy| registry.with_policy(policy)).collect()
        }
    };
    let mut world = World {
        rules: &run.rules,
        clock: &clock,
        handles: &handles,
        learners: &learners,
        told: registry.subscribe(64),
        now: 0,
        addresses: vec![Address::default(); ADDRESSES],
        neutral_at: vec![0; ADDRESSES],
        pins: (0..ADDRESSES).map(|_| None).collect(),
        permits: Vec::new(),
        uses: Vec::new(),
    };
    for (step, op) in run.ops.iter().enumerate() {
        let outcome = world.apply(*op);
        outcome.map_err(|fault| format!("step {step}, {op:?}: {fault}"))?;
    }
    Ok(())
}
