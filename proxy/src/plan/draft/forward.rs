//! What was said of a forward proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::claims::is_loopback;
use super::{Draft, Errors};
use crate::plan::error::PlanFault;
use crate::plan::{Access, Forward, Protocols, Upstream};

/// What was said of a forward proxy.
#[derive(Clone, Debug)]
pub struct ForwardDraft {
    /// Its name; no two have the same.
    pub name: String,
    /// Where it listens. Default 127.0.0.1:8090.
    pub listen: Vec<SocketAddr>,
    /// What it speaks. Default: all.
    pub protocols: Protocols,
    /// Client ranges that may use it. Default: whoever reaches a loopback listener.
    pub clients: Vec<IpNet>,
    /// Whether clients may reach loopback, private and link-local targets. Default: yes when every
    /// listener is on loopback, else no.
    pub allow_private: Option<bool>,
    /// The name of the upstream through which every target is reached.
    pub parent: Option<String>,
}

impl Draft {
    pub(super) fn check_forward(&self, forward: &ForwardDraft, errors: &mut Errors) {
        let place = format!("forward.{}", forward.name);
        if forward.listen.is_empty() {
            errors.add(format!("{place}.listen"), PlanFault::NoListener);
        }
        if !forward.protocols.http && !forward.protocols.socks5 {
            errors.add(format!("{place}.protocols"), PlanFault::NoProtocol);
        }
        let open = forward.listen.iter().position(|at| !is_loopback(at));
        if forward.clients.is_empty()
            && let Some((nth, &listener)) =
                open.and_then(|nth| Some((nth, forward.listen.get(nth)?)))
        {
            let fault = PlanFault::OpenProxy { listener };
            errors.add(format!("{place}.listen[{nth}]"), fault);
        }
        if let Some(name) = &forward.parent {
            let place = format!("{place}.parent");
            self.check_upstream_name(place.clone(), name, errors);
            let mut upstreams = self.upstreams.iter();
            if upstreams.any(|one| one.name == *name && one.tls.is_some()) {
                errors.add(place, PlanFault::ParentTls { name: name.clone() });
            }
        }
    }
}

impl ForwardDraft {
    /// A forward proxy on `listen`, all else by default.
    #[must_use]
    pub fn on(listen: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            ..Self::default()
        }
    }

    pub(super) fn complete(self, upstreams: &[Arc<Upstream>]) -> Forward {
        let on_loopback = self.listen.iter().all(is_loopback);
        let parent = self.parent.and_then(|name| {
            let found = upstreams.iter().find(|upstream| upstream.name == name);
            found.cloned()
        });
        Forward {
            name: self.name,
            allow_private: self.allow_private.unwrap_or(on_loopback),
            access: if self.clients.is_empty() {
                Access::Anyone
            } else {
                Access::Ranges(self.clients)
            },
            listen: self.listen,
            protocols: self.protocols,
            parent,
        }
    }
}
impl Default for ForwardDraft {
    fn default() -> Self {
        Self {
            name: "proxy".to_owned(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8090))],
            protocols: Protocols::ALL,
            clients: Vec::new(),
            allow_private: None,
            parent: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, said, with};
    use super::*;
    use crate::plan::{Server, UpstreamDraft};
    use crate::proto::Target;

    #[test]
    fn a_listener_on_loopback_is_for_anyone_and_reaches_private_targets() {
        for listen in ["127.0.0.1:8090", "[::1]:8090", "[::ffff:127.0.0.1]:8090"] {
            let plan = at(listen).resolve().unwrap();
            let forward = &plan.forwards[0];
            assert!(forward.allow_private, "{listen}");
            assert!(forward.access.admits([203, 0, 113, 9].into()), "{listen}");
        }
    }

    #[test]
    fn a_listener_elsewhere_needs_client_ranges() {
        for listen in ["0.0.0.0:8090", "[::]:8090", "192.0.2.7:8090"] {
            let errors = at(listen).resolve().unwrap_err();
            assert_eq!(errors.len(), 1, "{listen}");
            assert!(
                matches!(errors[0].fault, PlanFault::OpenProxy { .. }),
                "{listen}"
            );
            assert_eq!(errors[0].place, "forward.proxy.listen[0]");
        }
    }

    #[test]
    fn client_ranges_open_a_listener_to_them_alone_and_to_public_targets_alone() {
        let plan = with(ForwardDraft {
            clients: vec!["192.0.2.0/24".parse().unwrap()],
            ..ForwardDraft::on(vec!["0.0.0.0:8090".parse().unwrap()])
        })
        .resolve()
        .unwrap();
        let forward = &plan.forwards[0];
        assert!(!forward.allow_private);
        assert!(forward.access.admits([192, 0, 2, 9].into()));
        assert!(forward.access.admits("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!forward.access.admits([192, 0, 3, 9].into()));
    }

    #[test]
    fn a_reference_to_nothing_names_both_ends() {
        let server = Server {
            target: Target::parse("10.0.0.1:3128").unwrap(),
            weight: 1,
            is_backup: false,
            is_srv: false,
        };
        let draft = Draft {
            upstreams: vec![UpstreamDraft::of("hub", vec![server])],
            ..with(ForwardDraft {
                parent: Some("hop".to_owned()),
                ..ForwardDraft::default()
            })
        };
        assert_eq!(
            said(draft),
            [
                "forward.proxy.parent: there is no upstream \"hop\"; expected one of \
              [upstream.NAME]: hub"
            ]
        );
    }
}
