//! One model in one scenario: clients come, and what they and the servers meet is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep_until};

use crate::chance::Chance;
use crate::scenario::{Load, Scenario};
use crate::world::{Mood, SERVERS, World};

/// Somebody who balances: a rule with its settings.
pub(crate) trait Model: Send + Sync + 'static {
    /// Has one request answered; whether it was, and well.
    fn ask(&self) -> impl Future<Output = bool> + Send;

    /// Whether the server is in use, as far as its health says.
    fn uses(&self, server: usize) -> bool;

    /// What goes on beside the requests, for ever.
    fn tend(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Figures {
    /// Answered with an error, by whomever.
    pub(crate) lost: u64,
    /// Answered well, later than after a second.
    pub(crate) held: u64,
    /// From a fault until its server was left out, for the one that took the longest; `None` if one
    /// never was.
    pub(crate) found_after: Option<Duration>,
    /// Requests that went to a bad server after it had been found out.
    pub(crate) in_vain: usize,
    /// The most of them in one second.
    pub(crate) in_vain_at_once: usize,
    /// From the end of the last fault until all servers were in use again.
    pub(crate) back_after: Back,
    /// The fewest servers in use.
    pub(crate) fewest: usize,
}

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Back {
    /// It was not left out when the fault ended.
    #[default]
    Never,
    After(Duration),
    /// Not within the scenario, which goes on for so long.
    Later(Duration),
}

/// Plays the scenario.
pub(crate) fn run<M: Model>(scenario: &Scenario, make: impl FnOnce(&Arc<World>) -> M) -> Figures {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::new(&scenario.spells, scenario.jump, SEED));
        let model = Arc::new(make(&world));
        let tending = tokio::spawn({
            let model = Arc::clone(&model);
            async move { model.tend().await }
        });
        let watch = Arc::new(Mutex::new(Watch::new(scenario)));
        let watching = tokio::spawn(look(
            Arc::clone(&watch),
            Arc::clone(&model),
            Arc::clone(&world),
        ));
        let counts = Arc::new(Mutex::new(Figures::default()));
        let mut asking = VecDeque::new();
        for at in arrivals(&scenario.load, scenario.ends) {
            sleep_until(world.began() + at).await;
            let asked = tokio::spawn(ask(Arc::clone(&model), Arc::clone(&counts)));
            asking.push_back((at, asked));
            while asking.front().is_some_and(|(_, asked)| asked.is_finished()) {
                asking.pop_front().unwrap().1.await.unwrap();
            }
            let is_oldest_new = asking.front().is_none_or(|(since, _)| at < *since + HELD);
            if is_oldest_new && watch.lock().unwrap().is_calm(at) {
                break;
            }
        }
        // Who has come is waited for, however long that takes.
        for (_, asked) in asking {
            asked.await.unwrap();
        }
        watching.abort();
        tending.abort();
        let counts = counts.lock().unwrap();
        let in_vain = world.in_vain();
        let watch = watch.lock().unwrap();
        Figures {
            lost: counts.lost,
            held: counts.held,
            found_after: watch.found_after(),
            in_vain: in_vain.len(),
            in_vain_at_once: most_in_a_second(&in_vain),
            back_after: watch.back_after(),
            fewest: watch.fewest,
        }
    })
}

async fn ask<M: Model>(model: Arc<M>, counts: Arc<Mutex<Figures>>) {
    let began = Instant::now();
    let is_well = model.ask().await;
    let mut counts = counts.lock().unwrap();
    counts.lost += u64::from(!is_well);
    counts.held += u64::from(is_well && began.elapsed() > HELD);
}

/// Who was in use when.
struct Watch {
    /// When each goes bad first, if it does.
    begins: [Option<Duration>; SERVERS],
    /// When the last fault ends, and the scenario does.
    end: Duration,
    ends: Duration,
    /// When each was left out first while it was bad.
    found: [Option<Duration>; SERVERS],
    /// When one that was to be bad, or had been, was seen left out last.
    last_out: Option<Duration>,
    fewest: usize,
}

impl Watch {
    fn new(scenario: &Scenario) -> Self {
        let spells = &scenario.spells;
        let of = |server| spells.iter().filter(move |spell| spell.server == server);
        Self {
            begins: std::array::from_fn(|server| of(server).map(|spell| spell.from).min()),
            end: spells.iter().map(|spell| spell.to).max().unwrap(),
            ends: scenario.ends,
            found: [None; SERVERS],
            last_out: None,
            fewest: SERVERS,
        }
    }

    fn look<M: Model>(&mut self, model: &M, world: &World) {
        let now = world.now();
        let mut in_use = 0;
        for server in 0..SERVERS {
            let is_used = model.uses(server);
            in_use += usize::from(is_used);
            if is_used || self.begins[server].is_none() {
                continue;
            }
            self.last_out = Some(now);
            if self.found[server].is_none() && world.mood(server) != Mood::Well {
                self.found[server] = Some(now);
                world.note_found_out(server);
            }
        }
        self.fewest = self.fewest.min(in_use);
    }

    /// Nothing more is to come: all is well, and has been in use for a while.
    fn is_calm(&self, now: Duration) -> bool {
        let since = self.last_out.map_or(self.end, |out| out.max(self.end));
        now > since + CALM
    }

    fn found_after(&self) -> Option<Duration> {
        let bad = self
            .begins
            .iter()
            .zip(&self.found)
            .filter_map(|(begin, found)| begin.map(|begin| found.map(|found| found - begin)));
        bad.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn back_after(&self) -> Back {
        match self.last_out {
            Some(last) if last + LOOK >= self.ends => Back::Later(self.ends - self.end),
            Some(last) if last >= self.end => Back::After(last + LOOK - self.end),
            _ => Back::Never,
        }
    }
}

/// Looks again and again.
async fn look<M: Model>(watch: Arc<Mutex<Watch>>, model: Arc<M>, world: Arc<World>) {
    let ends = watch.lock().unwrap().ends;
    let mut at = Duration::ZERO;
    while at < ends {
        sleep_until(world.began() + at).await;
        watch.lock().unwrap().look(&*model, &world);
        at += LOOK;
    }
}

/// When clients come.
fn arrivals(load: &Load, until: Duration) -> Vec<Duration> {
    let chance = Chance::new(SEED);
    let mut times: Vec<_> = match *load {
        Load::Steady => (0..)
            .map(|n| PACE * n + Duration::from_micros(chance.next() % 8000))
            .take_while(|at| *at < until)
            .collect(),
        Load::Crowds => (1..)
            .map(|n| Duration::from_secs(2) * n)
            .take_while(|at| *at < until)
            .flat_map(|at| [at; 250])
            .collect(),
    };
    times.sort();
    times
}

fn most_in_a_second(times: &[Duration]) -> usize {
    let second = Duration::from_secs(1);
    let from = |(n, at): (usize, &Duration)| {
        times[n..]
            .iter()
            .take_while(|other| **other < *at + second)
            .count()
    };
    times.iter().enumerate().map(from).max().unwrap_or(0)
}

/// A client that waits longer has been held up.
pub(crate) const HELD: Duration = Duration::from_secs(1);
/// 125 requests a second.
const PACE: Duration = Duration::from_millis(8);
const LOOK: Duration = Duration::from_millis(20);
/// For how long all is to have been well before nothing more is waited for.
const CALM: Duration = Duration::from_secs(3);
const SEED: u64 = 1;
