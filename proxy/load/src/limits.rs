//! Open files: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::RunError;

/// Raises the soft limit of open files, up to the hard one, until `connections` fit.
///
/// # Errors
///
/// The hard limit is too low; the message names `flag` and its `count`.
pub(crate) fn allow_open_files(
    flag: &'static str,
    count: usize,
    connections: usize,
) -> Result<(), RunError> {
    let needed = connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    match missing(limit.current, limit.maximum, needed) {
        Missing::Nothing => Ok(()),
        Missing::Raise(to) => {
            let raised = Rlimit {
                current: to,
                maximum: limit.maximum,
            };
            setrlimit(Resource::Nofile, raised).map_err(|errno| RunError::RaiseLimit {
                flag,
                needed,
                source: errno.into(),
            })
        }
        Missing::Hard(allowed) => Err(RunError::TooFewFiles {
            flag,
            count,
            needed,
            allowed,
        }),
    }
}

/// Raises the soft limit as far as it goes, for a server that cannot know how many will come.
/// Where that fails, it serves as many as it may.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

#[derive(Debug, Eq, PartialEq)]
enum Missing {
    Nothing,
    Raise(Option<u64>),
    Hard(u64),
}

/// In limits, `None` is "without limit".
fn missing(soft: Option<u64>, hard: Option<u64>, needed: u64) -> Missing {
    match (soft, hard) {
        (None, _) => Missing::Nothing,
        (Some(soft), _) if soft >= needed => Missing::Nothing,
        (_, Some(hard)) if hard < needed => Missing::Hard(hard),
        // Without a hard limit the kernel still has one of its own: ask for no more than needed.
        (_, None) => Missing::Raise(Some(needed)),
        (_, hard) => Missing::Raise(hard),
    }
}

/// Standard streams, event loops, listeners, and room to spare.
const OTHER_FILES: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_only_when_it_must_be() {
        assert_eq!(missing(Some(1024), Some(4096), 1024), Missing::Nothing);
        assert_eq!(missing(None, None, 1024), Missing::Nothing);
        assert_eq!(
            missing(Some(1024), Some(4096), 1025),
            Missing::Raise(Some(4096))
        );
        assert_eq!(missing(Some(1024), None, 1025), Missing::Raise(Some(1025)));
        assert_eq!(missing(Some(1024), Some(4096), 4097), Missing::Hard(4096));
    }
}
