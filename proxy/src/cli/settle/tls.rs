//! TLS: the files that are named, read into what is shown and what is asked with.

use std::path::PathBuf;
use std::sync::Arc;

use super::Refused;
use crate::config::scalar::Said;
use crate::config::tree::OneOrMany;
use crate::config::tree::site::{SiteTls, TlsVersion};
use crate::config::tree::upstream::{Tls, TlsTable};
use crate::net::tls::{ClientSpec, ClientTls, Identity, Versions};
use crate::plan::SiteTlsDraft;
use crate::plan::upstream::HttpVersion;

/// What a site shows, and where.
pub(super) fn of_site(place: &str, said: &SiteTls, refused: &mut Vec<Refused>) -> SiteTlsDraft {
    let listen = said.listen.as_ref().map(OneOrMany::as_slice);
    SiteTlsDraft {
        listen: listen.into_iter().flatten().map(|one| one.0).collect(),
        identities: identities(place, said, refused),
        versions: match said.min_version {
            TlsVersion::V12 => Versions::From12,
            TlsVersion::V13 => Versions::Only13,
        },
        redirect: said.redirect,
    }
}

fn identities(place: &str, said: &SiteTls, refused: &mut Vec<Refused>) -> Vec<Arc<Identity>> {
    let mut files = Vec::new();
    match (&said.cert, &said.key) {
        (Some(cert), Some(key)) => files.push((format!("{place}.cert"), &cert.0, &key.0)),
        (Some(_), None) => refused.push(lone(place, "key", "cert")),
        (None, Some(_)) => refused.push(lone(place, "cert", "key")),
        (None, None) => {}
    }
    for (nth, one) in said.certificates.iter().enumerate() {
        let place = format!("{place}.certificates[{nth}].cert");
        files.push((place, &one.cert.0, &one.key.0));
    }
    let mut identities = Vec::new();
    for (place, cert, key) in files {
        match Identity::load(cert, key) {
            Ok(identity) => identities.push(identity),
            Err(error) => refused.push(Refused::new(place, error.to_string())),
        }
    }
    identities
}

/// How the servers of a group are asked.
pub(super) fn of_upstream(
    place: &str,
    said: &Tls,
    http: HttpVersion,
    refused: &mut Vec<Refused>,
) -> Option<Arc<ClientTls>> {
    let usual = TlsTable::default();
    let said = match said {
        Tls::Usual(_) => &usual,
        Tls::Table(table) => table,
    };
    match (&said.cert, &said.key) {
        (Some(_), None) => refused.push(lone(place, "key", "cert")),
        (None, Some(_)) => refused.push(lone(place, "cert", "key")),
        _ => {}
    }
    let file = |said: &Option<Said<PathBuf>>| said.as_ref().map(|path| path.0.clone());
    let spec = ClientSpec {
        roots: file(&said.roots),
        cert_and_key: file(&said.cert).zip(file(&said.key)),
        name: said.name.as_ref().map(|name| name.0.0.clone()),
        alpn: offered(http).iter().map(|name| name.to_vec()).collect(),
    };
    match ClientTls::load(&spec) {
        Ok(client) => Some(Arc::new(client)),
        Err(error) => {
            refused.push(Refused::new(place, error.to_string()));
            None
        }
    }
}

/// The names of protocols, the preferred one first (RFC 7301).
fn offered(http: HttpVersion) -> &'static [&'static [u8]] {
    match http {
        HttpVersion::Auto => &[b"h2", b"http/1.1"],
        HttpVersion::H1 => &[b"http/1.1"],
        HttpVersion::H2 => &[b"h2"],
    }
}

/// A certificate without its key, or a key without its certificate.
fn lone(place: &str, missing: &str, said: &str) -> Refused {
    let message = format!("is missing, expected the file that belongs to {said}");
    Refused::new(format!("{place}.{missing}"), message)
}
