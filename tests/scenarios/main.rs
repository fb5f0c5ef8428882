//! What befalls servers, and what their clients notice: this crate beside the rules of nginx,
//! HAProxy, Envoy and Linkerd, each with its defaults, on simulated time and without sockets.
//!
//! `docs/scenarios.md` has the figures and says how they came to be. They are compared with what is
//! found here; `RISEFALL_WRITE=1 cargo test --all-features --test scenarios` writes them anew.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(not(any(risefall_loom, risefall_shuttle)))]

mod chance;
mod claims;
mod envoy;
mod haproxy;
mod linkerd;
mod nginx;
mod ours;
mod run;
mod scenario;
mod table;
mod world;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::envoy::Envoy;
use self::haproxy::Haproxy;
use self::linkerd::Linkerd;
use self::nginx::Nginx;
use self::ours::Ours;
use self::run::{Figures, run};
use self::scenario::Scenario;
use self::table::{Story, markdown};

/// Plays a model in a scenario.
type Play = fn(&Scenario) -> Figures;

/// Each model, by its name in the tables.
const MODELS: [(&str, Play); 8] = [
    ("risefall", |scenario| run(scenario, Ours::new)),
    ("risefall, checks", |scenario| run(scenario, Ours::checked)),
    ("nginx", |scenario| run(scenario, Nginx::new)),
    ("HAProxy", |scenario| run(scenario, Haproxy::new)),
    ("HAProxy, redispatch", |scenario| {
        run(scenario, Haproxy::redispatching)
    }),
    ("Envoy", |scenario| run(scenario, Envoy::new)),
    ("Envoy, retries", |scenario| run(scenario, Envoy::retrying)),
    ("Linkerd", |scenario| run(scenario, Linkerd::new)),
];

/// Every model in every scenario; played once, by as many threads as there are cores.
fn stories() -> &'static [Story] {
    static STORIES: OnceLock<Vec<Story>> = OnceLock::new();
    STORIES.get_or_init(|| {
        let scenarios = scenario::all();
        let next = AtomicUsize::new(0);
        let play = || {
            let mut played = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(scenario) = scenarios.get(at / MODELS.len()) else {
                    return played;
                };
                played.push((at, MODELS[at % MODELS.len()].1(scenario)));
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut played: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(play)).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        played.sort_by_key(|(at, _)| *at);
        let mut figures = played.into_iter().map(|(_, figures)| figures);
        let story = |scenario| Story {
            scenario,
            figures: MODELS
                .iter()
                .map(|model| model.0)
                .zip(figures.by_ref())
                .collect(),
        };
        scenarios.clone().into_iter().map(story).collect()
    })
}

/// What the model's clients and servers met in the scenario.
fn figures(scenario: &str, model: &str) -> &'static Figures {
    let story = stories()
        .iter()
        .find(|story| story.scenario.name == scenario)
        .unwrap();
    let (_, figures) = story
        .figures
        .iter()
        .find(|(name, _)| *name == model)
        .unwrap();
    figures
}

#[test]
fn the_page_shows_what_is_found() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scenarios.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page says where the tables begin");
    let (written, behind) = rest.split_once(END).expect("the page says where they end");
    let found = format!("\n\n{}\n", markdown(stories()));
    if written == found {
        return;
    }
    if std::env::var_os("RISEFALL_WRITE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{found}{END}{behind}")).unwrap();
        return;
    }
    for (written, found) in written
        .lines()
        .zip(found.lines())
        .filter(|(one, other)| one != other)
    {
        eprintln!("- {written}\n+ {found}");
    }
    panic!("docs/scenarios.md is out of date; RISEFALL_WRITE=1 writes it anew");
}

#[test]
fn a_story_is_the_same_each_time() {
    let scenario = &scenario::all()[0];
    for (name, play) in &MODELS[..2] {
        assert_eq!(play(scenario), *figures(scenario.name, name), "{name}");
    }
}

const BEGIN: &str = "<!-- written by tests/scenarios -->";
const END: &str = "<!-- until here -->";
