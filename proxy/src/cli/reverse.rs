//! `risefall reverse`: flags to the tree that a file would say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::address;
use super::common::{Common, form, listen};
use crate::config::scalar::{Form as _, RequestPath, Said, Server, SiteHost};
use crate::config::tree::site::{Route, Site, SiteTls};
use crate::config::tree::upstream::{Balance, Check, Member, Tls, Upstream};
use crate::config::tree::{Tree, True};
use crate::proto::Target;

/// Run a reverse proxy: HTTP/1.1 and HTTP/2 in front of servers.
///
/// Every request goes to one of the servers. One that has failed --max-fails times in a row is
/// passed over, and tried again after --fail-timeout.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Reverse {
    /// A server: HOST:PORT, http://HOST or https://HOST; may be given more than once
    #[arg(long, value_name = "ADDR", required = true, value_parser = origin)]
    to: Vec<Origin>,

    /// Whether the servers are spoken to by TLS; the same as https:// before each
    #[arg(long)]
    to_tls: bool,

    /// How a server is chosen
    #[arg(long, value_name = "HOW", default_value = "round-robin")]
    balance: Choice,

    /// Path that servers are asked for every 5 s; one that does not answer with 200 to 399 is down
    /// [default: they are not asked]
    #[arg(long, value_name = "PATH", value_parser = form::<RequestPath>)]
    check: Option<RequestPath>,

    /// Address to listen on; may be given more than once. Port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: Vec<SocketAddr>,

    /// Host that is answered, such as shop.example.com or *.example.com; may be given more than
    /// once [default: every host]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = form::<SiteHost>)]
    host: Vec<SiteHost>,

    /// Certificate to speak TLS with, and those that lead to its root: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its key: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Take HTTP/2 without TLS too, from clients that know beforehand
    #[arg(long)]
    h2c: bool,

    /// Ranges of proxies in front whose X-Forwarded-* and Forwarded are believed
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = form::<IpNet>)]
    trusted: Vec<IpNet>,

    #[command(flatten)]
    common: Common,
}

/// A server, and how it is spoken to.
#[derive(Clone, Debug)]
struct Origin {
    server: Server,
    /// `None` if it was not said.
    is_tls: Option<bool>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    RoundRobin,
    LeastConn,
    Random,
    P2c,
    Hash,
}

impl Reverse {
    pub(super) fn run(self) -> ExitCode {
        let tree = match self.tree() {
            Ok(tree) => tree,
            Err(mistake) => {
                super::say(format_args!("risefall: {mistake}"));
                return ExitCode::from(2);
            }
        };
        self.common.run(tree)
    }

    /// What a file would say.
    fn tree(&self) -> Result<Tree, &'static str> {
        Ok(Tree {
            site: BTreeMap::from([(SITE.to_owned(), self.site())]),
            upstream: BTreeMap::from([(UPSTREAM.to_owned(), self.upstream()?)]),
            ..Tree::default()
        })
    }

    fn site(&self) -> Site {
        let file = |path: &PathBuf| Said(std::path::absolute(path).unwrap_or(path.clone()));
        let tls = self.tls_cert.as_ref().map(|cert| SiteTls {
            cert: Some(file(cert)),
            key: self.tls_key.as_ref().map(file),
            ..SiteTls::default()
        });
        Site {
            listen: listen(&self.listen),
            tls,
            hosts: self.host.iter().cloned().map(Said).collect(),
            h2c: self.h2c,
            trusted: self.trusted.iter().copied().map(Said).collect(),
            route: vec![Route {
                upstream: Some(UPSTREAM.to_owned()),
                ..Route::default()
            }],
        }
    }

    fn upstream(&self) -> Result<Upstream, &'static str> {
        let said = |is_tls| self.to.iter().any(|origin| origin.is_tls == is_tls);
        let is_tls = self.to_tls || said(Some(true));
        if is_tls && (said(Some(false)) || !self.to_tls && said(None)) {
            return Err(
                "--to: some servers are to be spoken to by TLS and some not; expected \
                        http:// or https:// before all of them",
            );
        }
        let servers = self.to.iter();
        let servers = servers.map(|origin| Member::Plain(Said(origin.server.clone())));
        Ok(Upstream {
            balance: self.balance.into(),
            tls: is_tls.then_some(Tls::Usual(True)),
            check: self.check.clone().map(Check::of),
            ..Upstream::of(servers.collect())
        })
    }
}

impl From<Choice> for Balance {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::RoundRobin => Self::RoundRobin,
            Choice::LeastConn => Self::LeastConn,
            Choice::Random => Self::Random,
            Choice::P2c => Self::P2c,
            Choice::Hash => Self::Hash,
        }
    }
}

/// Reads a server. A scheme has its port, and nothing may stand behind the port.
fn origin(text: &str) -> Result<Origin, String> {
    let schemes = [("http://", 80, false), ("https://", 443, true)];
    let said = schemes.iter().find_map(|&(scheme, port, is_tls)| {
        let rest = text
            .get(..scheme.len())
            .filter(|start| start.eq_ignore_ascii_case(scheme));
        rest.and(text.get(scheme.len()..))
            .map(|rest| (rest, port, is_tls))
    });
    let Some((rest, port, is_tls)) = said else {
        let server = Server::read(text)?;
        return Ok(Origin {
            server,
            is_tls: None,
        });
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let target = Target::parse_or_port(authority, port).map_err(|error| {
        format!("found {text:?} ({error}), expected a host, and a port if it is not the usual one")
    })?;
    Ok(Origin {
        server: Server(target.to_string()),
        is_tls: Some(is_tls),
    })
}

/// The name of the site.
pub(super) const SITE: &str = "reverse";
const UPSTREAM: &str = "servers";

const EXAMPLES: &str = "\
Examples:
  risefall reverse --to 10.0.0.11:8080 --to 10.0.0.12:8080
  curl http://127.0.0.1:8080/

  risefall reverse --to https://api.internal --check /healthz --listen 0.0.0.0:80
  risefall reverse --to 127.0.0.1:3000 --listen 0.0.0.0:443 --tls-cert shop.pem --tls-key shop.key";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        reverse: Reverse,
    }

    fn tree(flags: &[&str]) -> Result<Tree, String> {
        let words = ["reverse"].iter().chain(flags);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.reverse.tree().map_err(str::to_owned)
    }

    #[test]
    fn a_server_is_named_with_its_scheme_or_without() {
        let tree = tree(&["--to", "https://Api.internal", "--to", "https://b:8443/"]).unwrap();
        let upstream = &tree.upstream[UPSTREAM];
        assert!(upstream.tls.is_some());
        let servers = upstream.servers.iter().map(|member| match member {
            Member::Plain(said) => said.0.0.as_str(),
            Member::Table(_) => "",
        });
        assert_eq!(servers.collect::<Vec<_>>(), ["api.internal:443", "b:8443"]);
        for wrong in [
            "",
            "a",
            "ftp://a:1",
            "http://",
            "http://a/path",
            "https://u@a",
            "a:0",
        ] {
            assert!(self::tree(&["--to", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_servers_are_spoken_to_by_tls_or_none() {
        for (flags, is_tls) in [
            (&["--to", "a:1"][..], Some(false)),
            (&["--to", "a:1", "--to-tls"], Some(true)),
            (&["--to", "https://a", "--to-tls"], Some(true)),
            (&["--to", "http://a", "--to-tls"], None),
            (&["--to", "a:1", "--to", "https://b"], None),
        ] {
            let tls = tree(flags)
                .ok()
                .map(|tree| tree.upstream[UPSTREAM].tls.is_some());
            assert_eq!(tls, is_tls, "{flags:?}");
        }
    }

    #[test]
    fn a_certificate_comes_with_its_key_and_somebody_has_to_answer() {
        assert!(tree(&[]).is_err());
        assert!(tree(&["--to", "a:1", "--tls-cert", "a.pem"]).is_err());
        assert!(tree(&["--to", "a:1", "--tls-key", "a.key"]).is_err());
        let tls = ["--to", "a:1", "--tls-cert", "a.pem", "--tls-key", "a.key"];
        let tree = tree(&tls).unwrap();
        let cert = tree.site[SITE].tls.as_ref().unwrap().cert.clone();
        assert!(cert.unwrap().0.is_absolute());
    }
}
