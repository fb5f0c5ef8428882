//! `risefall proxy`: flags to the tree that a file would say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use ipnet::IpNet;

use super::address;
use super::common::{Common, form, listen};
use crate::config::scalar::Said;
use crate::config::tree::{self, Tree};

/// Run a forward proxy: HTTP, CONNECT and SOCKS5 on one port.
///
/// Clients are told apart by their first byte. Every connection that is opened for them asks the
/// health registry first: an address that has failed --max-fails times in a row is answered for
/// at once with "health check falldown", and tried again after --fail-timeout.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Proxy {
    /// Address to listen on; may be given more than once. Port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090", value_parser = address)]
    listen: Vec<SocketAddr>,

    /// Client ranges that may use the proxy; needed when it listens on more than loopback.
    /// Example: --allow-clients 192.168.1.0/24,10.0.0.7
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = form::<IpNet>)]
    allow_clients: Vec<IpNet>,

    /// Whether clients may reach loopback, private and link-local addresses [default: true when
    /// listening on loopback only, else false]
    #[arg(long, value_name = "BOOL")]
    allow_private: Option<bool>,

    #[command(flatten)]
    common: Common,
}

impl Proxy {
    pub(super) fn run(self) -> ExitCode {
        let tree = Tree {
            forward: BTreeMap::from([("proxy".to_owned(), self.forward())]),
            ..Tree::default()
        };
        self.common.run(tree)
    }

    /// What a file would say.
    fn forward(&self) -> tree::Forward {
        tree::Forward {
            listen: listen(&self.listen),
            clients: self.allow_clients.iter().copied().map(Said).collect(),
            allow_private: self.allow_private,
            ..tree::Forward::default()
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  risefall proxy
  curl -x http://127.0.0.1:8090 http://example.com/
  curl -x socks5h://127.0.0.1:8090 https://example.com/

  risefall proxy --listen 0.0.0.0:8090 --allow-clients 192.168.1.0/24
  risefall proxy --max-fails 2 --fail-timeout 10s --access-log /var/log/risefall.log";
