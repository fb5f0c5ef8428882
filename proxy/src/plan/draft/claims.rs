//! Who has which address: no two listeners may get connections that are meant for one of them.
//!
//! Sites alone may share one, if their hosts tell them apart and they agree on how it is spoken to.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::site::{Gate, SiteDraft};
use super::{Draft, Errors};
use crate::net::tls::Versions;
use crate::plan::error::{Manner, PlanFault};
use crate::plan::{Admin, Control};

struct Claim<'a> {
    place: String,
    address: SocketAddr,
    /// The site that it is for, if any.
    site: Option<&'a str>,
}

impl Claim<'_> {
    /// Whether both may be had by one listener.
    fn shares(&self, other: &Self) -> bool {
        self.site.is_some()
            && other.site.is_some()
            && self.site != other.site
            && self.address == other.address
    }
}

impl Draft {
    pub(super) fn check_admin(&self, errors: &mut Errors) {
        if let Some(&admin) = self.admin_address()
            && !is_loopback(&admin)
        {
            errors.add(
                "admin.listen".to_owned(),
                PlanFault::AdminInTheOpen { admin },
            );
        }
    }

    fn admin_address(&self) -> Option<&SocketAddr> {
        match &self.admin {
            Some(Admin {
                at: Control::Tcp(address),
                ..
            }) => Some(address),
            _ => None,
        }
    }

    /// No two listeners on one address; a wildcard holds them all.
    pub(super) fn check_claims(&self, errors: &mut Errors) {
        let forwards = self.forwards.iter().flat_map(|forward| {
            let listen = forward.listen.iter().enumerate();
            listen.map(|(nth, &address)| Claim {
                place: format!("forward.{}.listen[{nth}]", forward.name),
                address,
                site: None,
            })
        });
        let sites = self.sites.iter().flat_map(SiteDraft::gates);
        let sites = sites.map(|gate| Claim {
            place: gate.place,
            address: gate.address,
            site: Some(&gate.site.name),
        });
        let admin = self.admin_address().map(|&address| Claim {
            place: "admin.listen".to_owned(),
            address,
            site: None,
        });
        let mut claims: Vec<Claim<'_>> = Vec::new();
        for claim in forwards.chain(sites).chain(admin) {
            let mut earlier = claims.iter();
            let other =
                earlier.find(|other| overlap(claim.address, other.address) && !claim.shares(other));
            if let Some(other) = other {
                let fault = PlanFault::ClaimedTwice {
                    address: claim.address,
                    other: other.place.clone(),
                    other_address: other.address,
                };
                errors.add(claim.place.clone(), fault);
            }
            claims.push(claim);
        }
    }

    /// Sites that share an address agree on it, and no host is two of theirs.
    pub(super) fn check_shared(&self, errors: &mut Errors) {
        let gates: Vec<_> = self.sites.iter().flat_map(SiteDraft::gates).collect();
        // Two sites that share many addresses are told of once.
        let mut told = HashSet::new();
        for (nth, gate) in gates.iter().enumerate() {
            if told.insert((&gate.site.name, &gate.site.name)) {
                check_hosts(gate, gate, errors);
            }
            let earlier = gates.iter().take(nth);
            let shared =
                earlier.filter(|one| one.address == gate.address && one.address.port() != 0);
            for other in shared.filter(|one| one.site.name != gate.site.name) {
                check_manners(gate, other, errors);
                if told.insert((&gate.site.name, &other.site.name)) {
                    check_hosts(gate, other, errors);
                }
            }
        }
    }
}

/// Whether both speak the same at their address.
fn check_manners(gate: &Gate<'_>, other: &Gate<'_>, errors: &mut Errors) {
    let (here, there) = (manner(gate), manner(other));
    if here == there {
        return;
    }
    let fault = PlanFault::SpokenOtherwise {
        address: gate.address,
        here,
        there,
        other: other.place.clone(),
    };
    errors.add(gate.place.clone(), fault);
}

fn manner(gate: &Gate<'_>) -> Manner {
    match gate.tls {
        Some(tls) if tls.versions == Versions::Only13 => Manner::Tls13,
        Some(_) => Manner::Tls,
        None if gate.site.h2c => Manner::PlainH2,
        None => Manner::Plain,
    }
}

/// Whether no host of `gate` is one of `other`'s, which comes before it or is the same.
fn check_hosts(gate: &Gate<'_>, other: &Gate<'_>, errors: &mut Errors) {
    let is_same = gate.site.name == other.site.name;
    let place = format!("site.{}.hosts", gate.site.name);
    if gate.site.hosts.is_empty() && other.site.hosts.is_empty() && !is_same {
        let fault = PlanFault::AllHostsTaken {
            address: gate.address,
            other: format!("site.{}", other.site.name),
        };
        errors.add(place, fault);
        return;
    }
    for (nth, host) in gate.site.hosts.iter().enumerate() {
        let before = match is_same {
            true => nth,
            false => other.site.hosts.len(),
        };
        let mut others = other.site.hosts.iter().take(before);
        if let Some(taken) = others.position(|one| one == host) {
            let fault = PlanFault::HostTaken {
                host: host.to_string(),
                address: gate.address,
                other: format!("site.{}.hosts[{taken}]", other.site.name),
            };
            errors.add(format!("{place}[{nth}]"), fault);
        }
    }
}

/// Whether two listeners would get connections that are meant for one of them. Port 0 is another
/// port for each.
pub(crate) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (here, there) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0
        && one.port() == other.port()
        && (here == there || holds(here, there) || holds(there, here))
}

/// Whether `wildcard` stands for every address, `ip` among them. That of IPv6 is for both families.
fn holds(wildcard: IpAddr, ip: IpAddr) -> bool {
    wildcard.is_unspecified() && (wildcard.is_ipv6() || ip.is_ipv4())
}

pub(super) fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::super::tests::with;
    use crate::plan::ForwardDraft;

    #[test]
    fn two_listeners_need_two_addresses_and_a_wildcard_holds_them_all() {
        let clients = vec!["192.0.2.0/24".parse().unwrap()];
        for (one, other, is_refused) in [
            ("127.0.0.1:8090", "127.0.0.1:8090", true),
            ("0.0.0.0:8090", "127.0.0.1:8090", true),
            ("127.0.0.1:8090", "[::]:8090", true),
            ("[::]:8090", "[::1]:8090", true),
            ("[::ffff:127.0.0.1]:8090", "127.0.0.1:8090", true),
            ("0.0.0.0:8090", "[::1]:8090", false),
            ("127.0.0.1:8090", "127.0.0.2:8090", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let listen = [one, other].map(|at| at.parse().unwrap()).to_vec();
            let draft = with(ForwardDraft {
                clients: clients.clone(),
                ..ForwardDraft::on(listen)
            });
            let errors = draft.resolve().err().unwrap_or_default();
            let places: Vec<_> = errors.iter().map(|error| error.place.as_str()).collect();
            let expected: &[&str] = if is_refused {
                &["forward.proxy.listen[1]"]
            } else {
                &[]
            };
            assert_eq!(places, expected, "{one} {other}");
        }
    }
}
