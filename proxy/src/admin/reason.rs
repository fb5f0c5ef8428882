//! Why a server is used, or why not, in a sentence.

use risefall::check::{Failure, Report};
use risefall::{Cause, State, Status};

use crate::runtime::standing::{Ejection, PassedOver, Seen, Standing};
use crate::units;

/// What is said of a server, the words that keep it from being used alone if there are any.
/// `max_fails` is that of its dials.
pub(super) fn of(standing: &Standing, max_fails: u8) -> String {
    let is_down = standing.is_down() || standing.passed_over.is_some();
    let told = standing.words().filter(|(_, status)| match is_down {
        true => status.state.is_down(),
        false => status.state != State::Up || status.failures > 0,
    });
    let told = told.map(|(word, status)| match word {
        "dial" => dial(status, max_fails),
        "check" => format!("checks: {}", check(status, standing.seen.as_ref())),
        _ => format!("{word}: {}", traffic(status, standing.ejection.as_ref())),
    });
    let mut told: Vec<_> = told.collect();
    match standing.passed_over {
        Some(PassedOver::FailingOpen) => {
            told.push("used all the same: too few of the group are up".to_owned());
        }
        Some(PassedOver::Observing) => {
            told.push("used all the same: the group only observes".to_owned());
        }
        None if standing.share_percent < 100 && !is_down => told.push(share(standing)),
        None => {}
    }
    match told.is_empty() {
        true => NOTHING.to_owned(),
        false => told.join("; "),
    }
}

/// The state of dials and its cause.
pub(super) fn dial(status: &Status, max_fails: u8) -> String {
    let (failures, last) = (status.failures, last(status));
    match status.state {
        State::Up if failures == 0 => NOTHING.to_owned(),
        State::Up => format!("{failures} of {max_fails} failures in a row; the last: {last}"),
        State::Suspect => format!("silent for longer than usual, so dialled last; {last}"),
        State::Down => down(status),
        State::ProbeDue => "its down time is over: the next client tries it alone".to_owned(),
        State::Probing => format!(
            "a client is trying it{}",
            until(status, "; at most for another")
        ),
        State::ForcedUp => "an operator holds it up".to_owned(),
        State::ForcedDown => "an operator holds it down".to_owned(),
        State::Drained => "an operator lets no new connections to it".to_owned(),
        other => {
            let name = other.name().replace('_', " ");
            format!("{name}{}", until(status, ", for another"))
        }
    }
}

/// Why it gets less than its weight.
fn share(standing: &Standing) -> String {
    let wanted = (standing.seen.as_ref()).map_or(100, |seen| seen.report.weight_percent);
    let share = standing.share_percent;
    let why = match (wanted < 100, share < wanted) {
        (true, true) => format!("it asks for {wanted} %, and came back of late"),
        (true, false) => format!("it asks for {wanted} %"),
        (false, _) => "it came back of late".to_owned(),
    };
    format!("gets {share} % of its share: {why}")
}

fn traffic(status: &Status, ejection: Option<&Ejection>) -> String {
    match status.state {
        State::Up => format!("{}; the last: {}", in_a_row(status.failures), last(status)),
        State::Down => match (status.last_failure, ejection) {
            (Some(last), Some(ejection)) => {
                let (until, ago) = (until(status, " for another"), units::show_about(last.age));
                format!("down{until}: {ejection}, {ago} ago")
            }
            _ => down(status),
        },
        State::ProbeDue => "its down time is over: the next request tries it alone".to_owned(),
        State::Probing => "a request is trying it".to_owned(),
        other => other.name().replace('_', " "),
    }
}

/// Time alone does not bring back what checks took down, so none is told.
fn check(status: &Status, seen: Option<&Seen>) -> String {
    let report = seen.map(|seen| &seen.report);
    let failures = in_a_row(failed_checks(status.failures, seen));
    match (status.state, report) {
        (State::Up, _) => format!("{failures}, the last: {}", last_check(status, seen)),
        (State::Drained, Some(report)) => {
            let said = report.availability.name();
            format!("it says {said}, so it gets no new requests")
        }
        _ if is_unchecked(status) => "the first has to pass before it is used".to_owned(),
        (_, Some(report)) if is_said_down(report) => last_check(status, seen),
        _ if status.successes > 0 => {
            format!(
                "down until enough of them pass in a row: {} has passed",
                status.successes
            )
        }
        _ => format!(
            "down until they succeed: {failures}, the last: {}",
            last_check(status, seen)
        ),
    }
}

/// How many checks have failed that the word counts as `failures`. The first verdict takes one, and
/// so does one that the server speaks itself; the word has them as if it had taken all.
fn failed_checks(failures: u8, seen: Option<&Seen>) -> u8 {
    match seen.map_or(0, |seen| seen.failed) {
        // From before this process.
        0 => failures,
        failed => u8::try_from(failed).unwrap_or(u8::MAX).min(failures),
    }
}

/// Whether the word is down for nothing but that no check has ended yet (`start = "down"`).
fn is_unchecked(status: &Status) -> bool {
    let cause = status.last_failure.map(|last| last.cause);
    status.state.is_down() && cause == Some(Cause::Reported)
}

/// Whether the server has said itself that it is down.
fn is_said_down(report: &Report) -> bool {
    let last = report
        .last
        .as_ref()
        .and_then(|last| last.result.as_ref().err());
    matches!(last, Some(Failure::Agent(_)))
}

/// Why the last check failed, in its own words if they are known still.
fn last_check(status: &Status, seen: Option<&Seen>) -> String {
    let told = seen.and_then(|seen| {
        let failure = seen.report.last.as_ref()?.result.as_ref().err()?;
        let ago = units::show_about(seen.age?);
        Some(format!("{failure}, {ago} ago"))
    });
    told.unwrap_or_else(|| last(status))
}

fn down(status: &Status) -> String {
    let until = until(status, " for another");
    let failures = in_a_row(status.failures);
    format!("down{until}: {failures}, the last: {}", last(status))
}

fn in_a_row(failures: u8) -> String {
    match failures {
        1 => "1 failure".to_owned(),
        failures => format!("{failures} failures in a row"),
    }
}

fn last(status: &Status) -> String {
    let last = status.last_failure.map(|last| {
        let ago = units::show_about(last.age);
        format!("{}, {ago} ago", last.cause)
    });
    last.unwrap_or_else(|| "nothing that is remembered".to_owned())
}

fn until(status: &Status, word: &str) -> String {
    let time = status.retry_in.map(units::show_about);
    time.map_or_else(String::new, |time| format!("{word} {time}"))
}

const NOTHING: &str = "nothing is held against it";

#[cfg(test)]
mod tests {
    use risefall::{Policy, Registry};

    use super::*;

    #[test]
    fn only_the_words_that_say_down_are_told_while_there_is_one() {
        let address = "10.0.0.1:80".parse().unwrap();
        let word = |failures: u8| {
            let registry = Registry::new(Policy::default());
            for _ in 0..failures {
                registry.record_failure(address, Cause::Refused);
            }
            registry.status(&address)
        };
        let standing = |dial, traffic, check| Standing {
            dial: word(dial),
            traffic: Some(word(traffic)),
            check: Some(word(check)),
            passed_over: None,
            share_percent: 100,
            seen: None,
            ejection: None,
        };
        let told = |dial, traffic, check| of(&standing(dial, traffic, check), 3);
        assert_eq!(told(0, 0, 0), "nothing is held against it");
        let some = told(1, 2, 0);
        assert!(some.starts_with("1 of 3 failures in a row; the last: refused, "));
        assert!(some.contains("; traffic: 2 failures in a row; the last: refused, "));
        let down = told(1, 0, 3);
        assert!(down.starts_with("checks: down until they succeed: 3 failures in a row, "));
        let both = told(3, 3, 0);
        assert!(both.starts_with("down for another "), "{both}");
        assert!(both.contains("; traffic: down for another "), "{both}");
        let passed_over = Standing {
            passed_over: Some(PassedOver::FailingOpen),
            ..standing(0, 3, 0)
        };
        assert!(!passed_over.is_down());
        let said = of(&passed_over, 3);
        assert!(said.starts_with("traffic: down for another "), "{said}");
        assert!(said.ends_with("; used all the same: too few of the group are up"));
        let warm = Standing {
            share_percent: 34,
            ..standing(0, 0, 0)
        };
        assert_eq!(of(&warm, 3), "gets 34 % of its share: it came back of late");
    }
}
