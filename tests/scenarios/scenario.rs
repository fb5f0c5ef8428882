//! What befalls the servers, and when.

use std::time::Duration;

use crate::world::{Mood, SERVERS, Spell};

/// One story.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) spells: Vec<Spell>,
    pub(crate) load: Load,
    /// The wall clock is set, by so many seconds.
    pub(crate) jump: Option<(Duration, i64)>,
    /// No client comes after that.
    pub(crate) ends: Duration,
}

/// How clients come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// 125 a second, each at some moment of its 8 ms.
    Steady,
    /// 250 in one moment, every two seconds.
    Crowds,
}

impl Scenario {
    fn new(name: &'static str, text: &'static str, ends: u64, spells: Vec<Spell>) -> Self {
        Self {
            name,
            text,
            spells,
            load: Load::Steady,
            jump: None,
            ends: seconds(ends),
        }
    }
}

/// All of them. The first ten seconds are always good.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "Refuse",
            "One server refuses connections for 30 s: its process has died.",
            90,
            vec![spell(0, 10, 40, Mood::Refuses)],
        ),
        Scenario::new(
            "Black hole",
            "One server does not answer at all for 90 s: it is off, or a cable is.",
            220,
            vec![spell(0, 10, 100, Mood::Silent)],
        ),
        Scenario::new(
            "Flap",
            "One server refuses connections for 2 s, works for 2 s, and so on for a minute.",
            130,
            (0..15)
                .map(|n| spell(0, 10 + 4 * n, 12 + 4 * n, Mood::Refuses))
                .collect(),
        ),
        Scenario::new(
            "Slow",
            "One server takes 3 s for each answer, for a minute.",
            90,
            vec![spell(0, 10, 70, Mood::Slow)],
        ),
        Scenario::new(
            "Reset",
            "One server accepts connections and resets them when a request has come, for 30 s.",
            90,
            vec![spell(0, 10, 40, Mood::Resets)],
        ),
        Scenario::new(
            "Half of the pool down",
            "Five of ten servers refuse connections for 30 s.",
            90,
            (0..SERVERS / 2)
                .map(|server| spell(server, 10, 40, Mood::Refuses))
                .collect(),
        ),
        Scenario::new(
            "All down",
            "All servers refuse connections for 30 s.",
            110,
            (0..SERVERS)
                .map(|server| spell(server, 10, 40, Mood::Refuses))
                .collect(),
        ),
        Scenario {
            jump: Some((seconds(15), -3600)),
            ..Scenario::new(
                "Clock jump",
                "One server refuses connections for 30 s, and five seconds after it began the wall \
                 clock is set back by an hour.",
                90,
                vec![spell(0, 10, 40, Mood::Refuses)],
            )
        },
        Scenario {
            load: Load::Crowds,
            ..Scenario::new(
                "Herd at recovery",
                "Clients come in crowds, 250 in one moment every two seconds, and one server does not \
                 answer at all for 90 s: when its time is over, how many of a crowd run into it?",
                220,
                vec![spell(0, 10, 100, Mood::Silent)],
            )
        },
        Scenario::new(
            "Rolling restart",
            "The ten servers are restarted one after the other, every ten seconds one: each refuses \
             connections for five.",
            170,
            (0..SERVERS)
                .map(|n| spell(n, 10 + 10 * n as u64, 15 + 10 * n as u64, Mood::Refuses))
                .collect(),
        ),
        Scenario::new(
            "Shared cause",
            "What all servers need is out of order for 30 s: each answers 503 to seven requests of ten. \
             None of them is worse than the others, and 1&nbsp;125 requests of 3&nbsp;750 could be \
             answered.",
            110,
            (0..SERVERS)
                .map(|server| spell(server, 10, 40, Mood::Sick))
                .collect(),
        ),
    ]
}

fn spell(server: usize, from: u64, to: u64, mood: Mood) -> Spell {
    let (from, to) = (seconds(from), seconds(to));
    Spell {
        server,
        from,
        to,
        mood,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
