//! One request over one connection, and what it says of the server if that fails.

use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::{Request, Response};
use risefall::Outcome;

use super::open::Chosen;
use super::{Answer, Courier, Story, UNSENT_MOST};
use crate::error::{Breach, Fault};
use crate::upstream::evidence::Right;
use crate::upstream::judge::{broken, is_unread, judge_fault, judge_status};
use crate::upstream::letter::Letter;
use crate::upstream::pool::Lease;
use crate::upstream::upload::{Progress, Upload};

/// How one try failed.
enum Failed {
    /// Nothing of the request was sent: another connection may do.
    Unsent(Fault),
    /// The connection, which had served before, was closed without a byte of an answer.
    Stale(Fault),
    /// The server has told that it has not begun the request.
    Unread(Fault),
    /// Something may have been sent; what it says of the server.
    Sent(Fault, Outcome),
}

/// How all tries at one server failed.
pub(super) enum Lost {
    /// Nothing of the request was sent.
    Unsent(Fault),
    /// Something may have been.
    Sent(Fault),
}

impl Failed {
    /// The fault that another connection may mend; else what is lost, and what that says of the
    /// server.
    fn mend(
        self,
        lease: &Lease,
        letter: &mut Letter<'_>,
        story: &Story,
        has_come_back: &mut bool,
    ) -> Result<Fault, (Lost, Outcome)> {
        match self {
            Self::Sent(fault, outcome) => Err((Lost::Sent(fault), outcome)),
            Self::Stale(fault) if !letter.may_be_lost() || story.tries >= UNSENT_MOST => {
                // It may have closed an idle connection in that moment; but its client gets nothing.
                let outcome = judge_fault(&fault);
                Err((Lost::Sent(fault), outcome))
            }
            Self::Unread(fault) => {
                letter.note_unread();
                // Once more to this one, by another connection if it closes this; then to others.
                if !letter.may_be_repeated() {
                    return Err((Lost::Sent(fault), Outcome::Cancelled));
                }
                if !lease.is_reused || *has_come_back {
                    return Err((Lost::Unsent(fault), Outcome::Cancelled));
                }
                *has_come_back = true;
                Ok(fault)
            }
            Self::Stale(fault) | Self::Unsent(fault) => Ok(fault),
        }
    }
}

impl Courier<'_> {
    /// Sends the letter over `lease`; again over new connections while that costs nothing.
    pub(super) async fn try_on(
        &self,
        mut lease: Lease,
        letter: &mut Letter<'_>,
        story: &mut Story,
        answer: &mut Option<Answer>,
    ) -> Result<(), Lost> {
        let mut has_come_back = false;
        loop {
            story.tries += 1;
            if lease.is_reused && !letter.may_be_lost_when_written() {
                // It cannot be sent again, so a server that has closed should be known of first: the
                // event loop goes round once, and the connection's task sees what has come.
                tokio::task::yield_now().await;
            }
            let failed = match self.prepare(&lease, letter) {
                Err(failed) => failed,
                Ok(()) => {
                    let (flow, idle, is_h2) = (self.flow, self.times.body_idle.0, lease.is_h2());
                    let write = || letter.write(is_h2, flow, idle);
                    let sent = lease.send(&flow.watch, write).await;
                    match self.read(sent, &lease, letter) {
                        Err(failed) => failed,
                        Ok(response) => {
                            self.note_answer(&mut lease, &response);
                            *answer = Some(Answer { response, lease });
                            return Ok(());
                        }
                    }
                }
            };
            let fault = match failed.mend(&lease, letter, story, &mut has_come_back) {
                Ok(fault) => fault,
                Err((lost, outcome)) => {
                    lease.end(outcome);
                    return Err(lost);
                }
            };
            // Its server closed an idle connection: that says nothing, and another one may do.
            let chosen = Chosen::of(&mut lease);
            let is_fresh = !lease.is_reused;
            let address = lease.address;
            drop(lease);
            let Some(chosen) = chosen else {
                return Err(Lost::Sent(fault));
            };
            if is_fresh {
                chosen.end(judge_fault(&fault));
                return Err(Lost::Unsent(fault));
            }
            let renewed = Box::pin(self.renew(chosen.member(), address, letter, story)).await;
            lease = match renewed {
                Ok(lease) => chosen.on(lease),
                Err((fault, outcome)) => {
                    chosen.end(outcome);
                    return Err(Lost::Unsent(fault));
                }
            };
        }
    }

    /// Looks whether the letter can be written for `lease`, and has its times run.
    fn prepare(&self, lease: &Lease, letter: &Letter<'_>) -> Result<(), Failed> {
        let address = lease.address;
        if letter.is_gone() {
            let reason = "the request cannot be sent again".into();
            let how = Breach::Incomplete;
            let fault = Fault::Broken {
                address,
                how,
                reason,
            };
            return Err(Failed::Sent(fault, Outcome::Cancelled));
        }
        if lease.is_reused && !letter.may_be_lost_when_written() && !lease.is_ready() {
            return Err(Failed::Unsent(closed(address)));
        }
        self.arm(letter);
        self.flow.sent_to.set(Some(address));
        if self.flow.upload.get() != Progress::Whole
            && let Some(busy) = &lease.busy
        {
            busy.note_upload();
        }
        if letter.is_attended() {
            lease.attend();
        }
        Ok(())
    }

    /// What has come of it; nothing if that took too long.
    fn read(
        &self,
        sent: Option<Result<Response<Incoming>, TrySendError<Request<Upload>>>>,
        lease: &Lease,
        letter: &mut Letter<'_>,
    ) -> Result<Response<Incoming>, Failed> {
        let flow = self.flow;
        flow.watch.disarm();
        flow.behind_upload.set(self.times.body_idle.0);
        let mut error = match sent {
            Some(Ok(response)) => return Ok(response),
            Some(Err(error)) => error,
            None => {
                let fault = self.timed_out(lease.address);
                let outcome = judge_fault(&fault);
                // Others may share the connection: a client that is slow does not end it.
                if matches!(outcome, Outcome::Failed(_)) {
                    lease.retire();
                }
                return Err(Failed::Sent(fault, outcome));
            }
        };
        if let Some(request) = error.take_message() {
            letter.take_back(request);
            return Err(Failed::Unsent(closed(lease.address)));
        }
        Err(self.judge_error(lease, &error.into_error()))
    }

    fn arm(&self, letter: &Letter<'_>) {
        let (flow, times) = (self.flow, self.times);
        flow.behind_upload.set(times.answer.0);
        if letter.is_whole_at_once() {
            flow.upload.set(Progress::Whole);
            flow.watch.arm(times.answer.0);
        } else {
            flow.upload.set(Progress::Moving);
            flow.watch.arm(times.body_idle.0);
        }
    }

    fn judge_error(&self, lease: &Lease, error: &hyper::Error) -> Failed {
        let fault = broken(lease.address, error);
        match self.flow.upload.get() {
            Progress::Broken => {
                let fault = Fault::BadRequest("the request's body broke off before its end".into());
                Failed::Sent(fault, Outcome::Cancelled)
            }
            Progress::TooLarge => Failed::Sent(Fault::TooLarge, Outcome::Cancelled),
            _ if is_unread(error) => Failed::Unread(fault),
            _ if lease.is_reused && is_lost(error) => Failed::Stale(fault),
            // How much of an answer is taken is a rule of ours.
            _ if error.is_parse_too_large() => Failed::Sent(fault, Outcome::Cancelled),
            _ => {
                let outcome = judge_fault(&fault);
                Failed::Sent(fault, outcome)
            }
        }
    }

    /// An answer has begun: quick enough to be told from now on, and perhaps a failure.
    fn note_answer(&self, lease: &mut Lease, response: &Response<Incoming>) {
        if let Some(busy) = &lease.busy {
            self.group.note(busy);
        }
        match judge_status(response.status(), &self.upstream.service) {
            // Told when the answer is whole; others wait for a probe's.
            Outcome::Success if !lease.right.as_ref().is_some_and(Right::is_probe) => {}
            outcome => lease.end(outcome),
        }
    }

    /// Who was waited for: the client if its body stood still, else the server.
    fn timed_out(&self, address: SocketAddr) -> Fault {
        if self.flow.watch.is_over() {
            return self.overlong();
        }
        let after = match self.flow.upload.get() {
            Progress::Waiting => {
                return Fault::Idle {
                    after: self.times.body_idle.1,
                };
            }
            Progress::Moving => self.times.body_idle.1,
            _ => self.times.answer.1,
        };
        Fault::HeadTimedOut { address, after }
    }
}

fn closed(address: SocketAddr) -> Fault {
    let reason = "it closed the connection before the request".into();
    let how = Breach::Incomplete;
    Fault::Broken {
        address,
        how,
        reason,
    }
}

/// Whether the connection ended before a byte of the response.
fn is_lost(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_canceled() || is_io(error)
}

fn is_io(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}
