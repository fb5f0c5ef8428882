//! A network of servers that do as their script says, on time that passes only when all wait.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::chance::mixed;

/// How many servers there are. With ten, each rule that is a share of the pool has something to say.
pub(crate) const SERVERS: usize = 10;

/// What a server does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mood {
    /// Answers 200.
    Well,
    /// Nothing listens: dials are refused, open connections reset.
    Refuses,
    /// Nothing comes back. What was sent is sent again until the silence is over.
    Silent,
    /// Answers 200, after three seconds.
    Slow,
    /// Accepts, and resets the connection when the request has come.
    Resets,
    /// Answers 503 to seven requests of ten.
    Sick,
}

/// For how long a server is in which mood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    pub(crate) server: usize,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) mood: Mood,
}

/// Who dials: checks are no clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    Client,
    Check,
}

/// The network.
pub(crate) struct World {
    began: Instant,
    spells: [Vec<Spell>; SERVERS],
    /// What the wall clock shows more than has passed, from when on.
    jump: Option<(Duration, i64)>,
    seed: u64,
    notes: Mutex<Notes>,
}

/// What is noted of the servers.
#[derive(Default)]
struct Notes {
    /// Those that whoever balances has left out since they went bad.
    is_found_out: [bool; SERVERS],
    /// When clients' requests went to such a server all the same.
    in_vain: Vec<Duration>,
    answers: u64,
}

impl World {
    /// Has to be made where the time is paused.
    pub(crate) fn new(spells: &[Spell], jump: Option<(Duration, i64)>, seed: u64) -> Self {
        let of = |server| spells.iter().filter(move |spell| spell.server == server);
        Self {
            began: Instant::now(),
            spells: std::array::from_fn(|server| of(server).copied().collect()),
            jump,
            seed,
            notes: Mutex::default(),
        }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// What the wall clock shows, in whole seconds.
    pub(crate) fn wall_seconds(&self) -> i64 {
        let now = self.now();
        let jumped = self.jump.filter(|(at, _)| now >= *at);
        1_000_000 + now.as_secs() as i64 + jumped.map_or(0, |(_, by)| by)
    }

    pub(crate) fn mood(&self, server: usize) -> Mood {
        let now = self.now();
        let spell = self.spells[server]
            .iter()
            .find(|spell| spell.from <= now && now < spell.to);
        spell.map_or(Mood::Well, |spell| spell.mood)
    }

    /// Opens a connection. A SYN that is not answered is repeated as Linux does.
    pub(crate) async fn dial(&self, server: usize, who: Who) -> io::Result<()> {
        self.note_use(server, who);
        let began = Instant::now();
        for after in SYNS {
            if after > 0 {
                sleep_until(began + Duration::from_secs(after)).await;
            }
            match self.mood(server) {
                Mood::Silent => {}
                Mood::Refuses => {
                    sleep(ROUND_TRIP).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                _ => {
                    sleep(ROUND_TRIP).await;
                    return Ok(());
                }
            }
        }
        sleep_until(began + GIVES_UP).await;
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Sends a request over an open connection, and waits for the status of the answer for as long
    /// as that takes.
    pub(crate) async fn send(&self, server: usize) -> io::Result<u16> {
        self.silence(server).await;
        match self.mood(server) {
            Mood::Slow => sleep(SLOW).await,
            Mood::Resets | Mood::Refuses => sleep(ROUND_TRIP).await,
            _ => sleep(QUICK).await,
        }
        self.silence(server).await;
        match self.mood(server) {
            Mood::Resets | Mood::Refuses => Err(io::ErrorKind::ConnectionReset.into()),
            Mood::Sick if self.draw() % 10 < 7 => Ok(503),
            _ => Ok(200),
        }
    }

    /// Waits for the end of a silence, and what is repeated into it.
    async fn silence(&self, server: usize) {
        while self.mood(server) == Mood::Silent {
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn draw(&self) -> u64 {
        let mut notes = self.notes.lock().unwrap();
        notes.answers += 1;
        mixed(self.seed ^ mixed(notes.answers)) >> 8
    }

    fn note_use(&self, server: usize, who: Who) {
        let mut notes = self.notes.lock().unwrap();
        let is_known = notes.is_found_out[server] && self.mood(server) != Mood::Well;
        if is_known && who == Who::Client {
            notes.in_vain.push(self.now());
        }
    }

    /// The server is left out, while something is wrong with it.
    pub(crate) fn note_found_out(&self, server: usize) {
        self.notes.lock().unwrap().is_found_out[server] = true;
    }

    /// When clients' requests went to servers that had been found out and were still bad.
    pub(crate) fn in_vain(&self) -> Vec<Duration> {
        self.notes.lock().unwrap().in_vain.clone()
    }
}

/// Client and servers are in one building.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// What a server that is well takes for an answer.
const QUICK: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_secs(3);
/// When Linux sends the SYNs of one dial, in seconds, and when it gives up.
const SYNS: [u64; 7] = [0, 1, 3, 7, 15, 31, 63];
const GIVES_UP: Duration = Duration::from_secs(127);
