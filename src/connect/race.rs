//! Addresses raced against each other: RFC 8305 §5, paced by silence.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Options;
use super::dial::Dial;
use super::flight::{Right, fly};
use super::order::{Arranged, Candidate, arrange};
use crate::admit::Admission;
use crate::error::{ConnectError, DialFailure, DialFault};
use crate::judge::{Judge, Ticket};
use crate::policy::Policy;
use crate::snapshot::{State, Status};

/// The dial that was answered.
#[derive(Debug)]
pub struct Won<S> {
    /// The connection.
    pub stream: S,
    /// Where it leads.
    pub address: SocketAddr,
    /// How many addresses were dialled for it, this one included.
    pub dials: usize,
}

/// Dials what may be dialled of the addresses until `deadline`; the first answer wins.
pub(super) async fn connect<J: Judge + Clone + 'static, D: Dial + Clone + 'static>(
    judge: &J,
    dialler: &D,
    addresses: &[SocketAddr],
    options: &Options,
    deadline: Instant,
) -> Result<Won<D::Stream>, ConnectError> {
    let won = |stream, address, dials| Won {
        stream,
        address,
        dials,
    };
    let mut failures = match *addresses {
        [] => return Err(ConnectError::NoAddress),
        // The usual case, without a list.
        [address] => match single(judge, dialler, address, options, deadline).await {
            Ok(stream) => return Ok(won(stream, address, 1)),
            Err(fault) => vec![DialFailure { address, fault }],
        },
        _ => match several(judge, dialler, addresses, options, deadline).await {
            Ok(first) => return Ok(first),
            Err(failures) => failures,
        },
    };
    if options.fail_open
        && let Some(at) = first_in_turn(&failures)
        && let Some(failure) = failures.get_mut(at)
    {
        let address = failure.address;
        let call = Call::new(judge, dialler, options, deadline);
        match call.attempt(address).await {
            Ok(stream) => return Ok(won(stream, address, dialled(&failures) + 1)),
            Err(fault) => failure.fault = fault,
        }
    }
    Err(failed(failures))
}

async fn single<J: Judge, D: Dial>(
    judge: &J,
    dialler: &D,
    address: SocketAddr,
    options: &Options,
    deadline: Instant,
) -> Result<D::Stream, DialFault> {
    let call = Call::new(judge, dialler, options, deadline);
    match judge.try_admit(&address) {
        Admission::Pass => call.attempt(address).await,
        Admission::Probe(permit) => call.fly(address, Right::Probe(permit)).await,
        Admission::Deny { .. } => Err(DialFault::Down(judge.status(&address))),
    }
}

/// What every dial of one call has in common.
struct Call<'a, J, D> {
    judge: &'a J,
    dialler: &'a D,
    connect_timeout: Duration,
    dial_timeout: Duration,
    deadline: Instant,
}

impl<'a, J: Judge, D: Dial> Call<'a, J, D> {
    fn new(judge: &'a J, dialler: &'a D, options: &Options, deadline: Instant) -> Self {
        Self {
            judge,
            dialler,
            connect_timeout: options.connect_timeout,
            dial_timeout: options.dial_timeout,
            deadline,
        }
    }

    async fn attempt(&self, address: SocketAddr) -> Result<D::Stream, DialFault> {
        let ticket = self.judge.begin(&address);
        self.fly(address, Right::Attempt(ticket)).await
    }

    /// Dials until the connect timeout, or gives up at the deadline.
    async fn fly(&self, address: SocketAddr, right: Right) -> Result<D::Stream, DialFault> {
        let flight = fly::<_, D>(
            self.judge,
            self.dialler,
            address,
            right,
            self.connect_timeout,
            self.deadline,
        );
        let answer = tokio::time::timeout_at(self.deadline, flight).await;
        answer.unwrap_or(Err(DialFault::TimedOut(self.dial_timeout)))
    }
}

type Answer<S> = Result<S, DialFault>;
type Flying<'a, S> = Pin<Box<dyn Future<Output = Answer<S>> + Send + 'a>>;

/// A dial in the air.
struct Flight<'a, S> {
    address: SocketAddr,
    ticket: Ticket,
    /// When its silence is remarkable; `None` when that has been remarked, or is no news.
    silent_at: Option<Instant>,
    is_suspect: bool,
    flying: Flying<'a, S>,
}

/// A probe, or the race of a suspect. When another wins it goes on alone, since its verdict is
/// worth having: of a probe there is one, of races one a second.
struct Aside<S> {
    address: SocketAddr,
    flying: Flying<'static, S>,
}

struct Race<'a, J, D: Dial> {
    call: Call<'a, J, D>,
    waiting: std::vec::IntoIter<Candidate>,
    flights: Vec<Flight<'a, D::Stream>>,
    aside: Option<Aside<D::Stream>>,
    failures: Vec<DialFailure>,
}

/// What a race waits for.
enum Next<S> {
    Answered(usize, Answer<S>),
    AnsweredAside(Answer<S>),
    Silent,
    Over,
}

async fn several<J: Judge + Clone + 'static, D: Dial + Clone + 'static>(
    judge: &J,
    dialler: &D,
    addresses: &[SocketAddr],
    options: &Options,
    deadline: Instant,
) -> Result<Won<D::Stream>, Vec<DialFailure>> {
    let standings = addresses
        .iter()
        .map(|&address| (address, judge.standing(&address)));
    let mut arranged = arrange(standings);
    if !options.keeps_order {
        arranged.prefer();
    }
    let aside = choose_aside(judge, &mut arranged);
    let aside = aside.map(|(address, right)| {
        let flying = fly::<_, D>(
            judge.clone(),
            dialler.clone(),
            address,
            right,
            options.connect_timeout,
            deadline,
        );
        Aside {
            address,
            flying: Box::pin(flying),
        }
    });
    let Arranged {
        mut good,
        mut suspects,
        down,
        ..
    } = arranged;
    good.append(&mut suspects);
    let failures = down.iter().map(|address| DialFailure {
        address: *address,
        fault: DialFault::Down(judge.status(address)),
    });
    let race = Race {
        failures: failures.collect(),
        call: Call::new(judge, dialler, options, deadline),
        waiting: good.into_iter(),
        flights: Vec::new(),
        aside,
    };
    race.run().await.map_err(|mut failures| {
        // As they were given, not as they ended.
        failures.sort_by_key(|failure| addresses.iter().position(|one| *one == failure.address));
        failures
    })
}

/// The one address that is dialled to find out about it: the first due for a probe for which a
/// permit may be had, else a suspect whose race this is. Those due that are not dialled are down
/// for this call.
fn choose_aside<J: Judge>(judge: &J, arranged: &mut Arranged) -> Option<(SocketAddr, Right)> {
    let mut aside = None;
    for due in std::mem::take(&mut arranged.due) {
        let address = due.address;
        if aside.is_some() {
            arranged.down.push(address);
            continue;
        }
        match judge.try_admit(&address) {
            Admission::Probe(permit) => aside = Some((address, Right::Probe(permit))),
            // It has come up meanwhile.
            Admission::Pass => arranged.good.push(due),
            Admission::Deny { .. } => arranged.down.push(address),
        }
    }
    if aside.is_none() {
        let raced = |one: &Candidate| judge.claim_race(&one.address);
        let at = arranged.suspects.iter().position(raced)?;
        let address = arranged.suspects.remove(at).address;
        aside = Some((address, Right::Attempt(judge.begin(&address))));
    }
    aside
}

impl<J: Judge, D: Dial> Race<'_, J, D> {
    async fn run(mut self) -> Result<Won<D::Stream>, Vec<DialFailure>> {
        self.start_next();
        while !self.flights.is_empty() || self.aside.is_some() {
            match self.next().await {
                Next::Answered(at, answer) => {
                    let flight = self.flights.remove(at);
                    match answer {
                        Ok(stream) => {
                            let dials = self.dials() + 1;
                            self.let_go_on();
                            let address = flight.address;
                            return Ok(Won {
                                stream,
                                address,
                                dials,
                            });
                        }
                        Err(fault) => self.fail(flight.address, fault),
                    }
                }
                Next::AnsweredAside(answer) => {
                    if let Some(Aside { address, .. }) = self.aside.take() {
                        match answer {
                            Ok(stream) => {
                                let dials = self.dials() + 1;
                                return Ok(Won {
                                    stream,
                                    address,
                                    dials,
                                });
                            }
                            // The others are not hurried: it was none of them.
                            Err(fault) => self.failures.push(DialFailure { address, fault }),
                        }
                    }
                }
                Next::Silent => self.remark_silence(),
                Next::Over => self.give_up(),
            }
        }
        Err(self.failures)
    }

    /// How many dials there have been, but for the one that was taken out just now.
    fn dials(&self) -> usize {
        dialled(&self.failures) + self.flights.len() + usize::from(self.aside.is_some())
    }

    fn start_next(&mut self) {
        let Some(candidate) = self.waiting.next() else {
            return;
        };
        let Call {
            judge,
            dialler,
            connect_timeout,
            deadline,
            ..
        } = self.call;
        let address = candidate.address;
        let ticket = judge.begin(&address);
        let right = Right::Attempt(ticket);
        let flying = fly::<_, D>(judge, dialler, address, right, connect_timeout, deadline);
        self.flights.push(Flight {
            address,
            ticket,
            silent_at: Some(Instant::now() + patience(judge.policy(), candidate.usual)),
            is_suspect: candidate.is_suspect,
            flying: Box::pin(flying),
        });
    }

    /// The next thing that happens.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what is in the air is held by the race.
    async fn next(&mut self) -> Next<D::Stream> {
        let silence = self
            .flights
            .iter()
            .filter_map(|flight| flight.silent_at)
            .min();
        let deadline = self.call.deadline;
        let timer = sleep_until(silence.map_or(deadline, |silence| silence.min(deadline)));
        let answer = poll_fn(|context| self.poll_answer(context));
        tokio::select! {
            biased;
            answered = answer => answered,
            () = timer => if Instant::now() >= deadline { Next::Over } else { Next::Silent },
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Next<D::Stream>> {
        for (at, flight) in self.flights.iter_mut().enumerate() {
            if let Poll::Ready(answer) = flight.flying.as_mut().poll(context) {
                return Poll::Ready(Next::Answered(at, answer));
            }
        }
        if let Some(aside) = &mut self.aside
            && let Poll::Ready(answer) = aside.flying.as_mut().poll(context)
        {
            return Poll::Ready(Next::AnsweredAside(answer));
        }
        Poll::Pending
    }

    fn fail(&mut self, address: SocketAddr, fault: DialFault) {
        self.failures.push(DialFailure { address, fault });
        self.start_next();
    }

    /// Makes suspects of those who have been silent for long enough, if there is anybody else, and
    /// gives the next one its turn.
    fn remark_silence(&mut self) {
        let now = Instant::now();
        let in_the_air = self.flights.len() + usize::from(self.aside.is_some());
        let has_others = in_the_air > 1 || self.waiting.len() > 0;
        let mut is_silent = false;
        for flight in &mut self.flights {
            if flight.silent_at.is_some_and(|at| at <= now) {
                flight.silent_at = None;
                is_silent = true;
                if has_others && !flight.is_suspect {
                    self.call.judge.note_silence(flight.address, flight.ticket);
                }
            }
        }
        if is_silent {
            self.start_next();
        }
    }

    /// Somebody has won: what is dialled to find out goes on by itself, until its own timeout.
    fn let_go_on(&mut self) {
        if let Some(Aside { flying, .. }) = self.aside.take() {
            // A stream that it opens is closed at once: nobody waits for it.
            tokio::spawn(async move { drop(flying.await) });
        }
    }

    /// The time is up: whoever is in the air is dropped, which tells what there is to tell, and
    /// whoever had no turn has none any more.
    fn give_up(&mut self) {
        let flights = self.flights.drain(..).map(|flight| flight.address);
        let aside = self.aside.take().map(|aside| aside.address);
        let waiting = self.waiting.by_ref().map(|candidate| candidate.address);
        let limit = self.call.dial_timeout;
        let failures = flights
            .chain(aside)
            .chain(waiting)
            .map(|address| DialFailure {
                address,
                fault: DialFault::TimedOut(limit),
            });
        self.failures.extend(failures);
    }
}

/// How long an address may be silent before the next one is dialled beside it.
fn patience(policy: &Policy, usual: Option<Duration>) -> Duration {
    let several_times = usual.unwrap_or_default().saturating_mul(4);
    several_times
        .max(policy.suspect_after())
        .min(policy.attempt_delay())
}

/// Of addresses that are all down the one whose turn comes first, unless an operator took it out:
/// its place.
fn first_in_turn(failures: &[DialFailure]) -> Option<usize> {
    let statuses: Option<Vec<Status>> = failures.iter().map(down_status).collect();
    statuses?
        .into_iter()
        .enumerate()
        .filter(|(_, status)| !matches!(status.state, State::ForcedDown | State::Drained))
        .min_by_key(|(_, status)| status.retry_in)
        .map(|(at, _)| at)
}

/// How many of them were dialled.
fn dialled(failures: &[DialFailure]) -> usize {
    let down = failures.iter().filter(|one| down_status(one).is_some());
    failures.len() - down.count()
}

fn down_status(failure: &DialFailure) -> Option<Status> {
    match &failure.fault {
        DialFault::Down(status) => Some(*status),
        _ => None,
    }
}

fn failed(attempts: Vec<DialFailure>) -> ConnectError {
    match attempts.iter().map(down_status).collect() {
        Some(addresses) => ConnectError::FallDown { addresses },
        None => ConnectError::Unreachable { attempts },
    }
}
