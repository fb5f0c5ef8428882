//! How servers are asked whether they work.
//!
//! All of it is the library's, and valid by construction: whoever makes one has been told what was
//! wrong by then.

use risefall::Policy;
use risefall::check::{Definition, DefinitionError, Kind, Thresholds, Timing, Tls};

use crate::proto::Target;

/// How the servers of a group are asked whether they work.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is asked.
    pub kind: Kind,
    /// How often, and how long it may take.
    pub timing: Timing,
    /// How many it takes to change a verdict, and what holds before the first.
    pub thresholds: Thresholds,
}

impl Check {
    /// One of this kind, all else by default.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            timing: Timing::default(),
            thresholds: Thresholds::default(),
        }
    }

    /// How the server `target` is checked, by TLS if `tls` is given. What asks for a host, and says
    /// not for which, asks for the server as it is configured.
    ///
    /// # Errors
    ///
    /// It cannot be asked for so.
    pub fn definition(
        &self,
        target: &Target,
        tls: Option<Tls>,
    ) -> Result<Definition, DefinitionError> {
        let kind = self.kind.clone().asking_for(&target.to_string())?;
        Definition::new(kind, tls, self.timing)
    }

    /// By what the word of its findings is read.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Thresholds { fall, rise, .. } = self.thresholds;
        let policy = self.timing.policy(fall.max(1), rise.max(1));
        // None is zero, and nothing else can be wrong with them.
        policy.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use risefall::check::{Grpc, Http};

    use super::*;

    #[test]
    fn what_asks_for_a_host_asks_for_the_server_as_it_is_configured() {
        let target = Target::parse("app.internal:80").unwrap();
        let asked = |kind: Kind| Check::of(kind).definition(&target, None).unwrap();
        let http = Http::new("/").unwrap();
        let named = Kind::Http(http.clone().host("app.internal:80").unwrap());
        assert_eq!(asked(Kind::Http(http.clone())).kind(), &named);
        let own = Kind::Http(http.host("shop.example").unwrap());
        assert_eq!(asked(own.clone()).kind(), &own);
        let grpc = Grpc::default().authority("app.internal:80").unwrap();
        assert_eq!(asked(Kind::Grpc(Grpc::default())).kind(), &Kind::Grpc(grpc));
        assert_eq!(asked(Kind::Connect).kind(), &Kind::Connect);
    }
}
