//! Lookups against a name server of the test's own.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

use super::super::Resolver;
use super::*;
use crate::proto::Target;

/// What a question gets.
#[derive(Clone)]
enum Reply {
    Records(Vec<Data>),
    /// A response code (RFC 1035 §4.1.1).
    Code(u8),
    Silence,
}

/// A record's content, with its TTL.
#[derive(Clone)]
enum Data {
    A(u32, [u8; 4]),
    Aaaa(u32, [u16; 8]),
    Srv(u32, [u16; 3], &'static str),
}

/// A name server that answers by a function of the name and the type.
struct NameServer {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start(reply: impl Fn(&str, u16) -> Reply + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            // Nothing at all is the end.
            while let Ok((1.., from)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = answered(&buffer, &reply) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Self {
            address,
            thread: Some(thread),
        }
    }

    fn names(&self) -> DnsNames {
        let mut connection = ConnectionConfig::udp();
        connection.port = self.address.port();
        let server = NameServerConfig::new(self.address.ip(), true, vec![connection]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_millis(100);
        options.attempts = 0;
        names(move || Ok((config.clone(), options.clone())))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[], self.address).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The system, which knows one name.
struct System;

impl Names for System {
    fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match name.trim_end_matches('.') {
            "system.internal" => Ok(vec![([10, 9, 9, 9], port).into()]),
            _ => Err(io::Error::other("the system does not know it either")),
        }
    }
}

fn names(servers: impl Fn() -> Result<Servers, NetError> + Send + Sync + 'static) -> DnsNames {
    DnsNames {
        hosts: PathBuf::from("/nonexistent"),
        servers: Box::new(servers),
        system: Box::new(System),
    }
}

fn answered(question: &[u8], reply: &impl Fn(&str, u16) -> Reply) -> Option<Vec<u8>> {
    let mut name = String::new();
    let mut at = 12;
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push_str(std::str::from_utf8(&question[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let (code, records) = match reply(&name.to_ascii_lowercase(), kind) {
        Reply::Records(records) => (0, records),
        Reply::Code(code) => (code, Vec::new()),
        Reply::Silence => return None,
    };
    let mut answer = question[..2].to_vec();
    let count = u8::try_from(records.len()).unwrap();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(&question[12..at + 5]);
    for record in &records {
        push(&mut answer, record);
    }
    Some(answer)
}

fn push(answer: &mut Vec<u8>, record: &Data) {
    let (kind, ttl, data): (u16, u32, Vec<u8>) = match record {
        Data::A(ttl, ip) => (1, *ttl, ip.to_vec()),
        Data::Aaaa(ttl, ip) => (
            28,
            *ttl,
            ip.iter().flat_map(|two| two.to_be_bytes()).collect(),
        ),
        Data::Srv(ttl, numbers, target) => {
            let numbers = numbers.iter().flat_map(|two| two.to_be_bytes());
            let mut data: Vec<u8> = numbers.collect();
            for label in target.split('.').filter(|label| !label.is_empty()) {
                data.push(u8::try_from(label.len()).unwrap());
                data.extend(label.bytes());
            }
            data.push(0);
            (33, *ttl, data)
        }
    };
    // The name is that of the question.
    answer.extend([0xc0, 12]);
    answer.extend(kind.to_be_bytes());
    answer.extend([0, 1]);
    answer.extend(ttl.to_be_bytes());
    answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    answer.extend(data);
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn both_families_are_found_with_the_least_ttl() {
    let server = NameServer::start(|name, kind| match (name, kind) {
        ("app.internal.", A) => {
            Reply::Records(vec![Data::A(60, [10, 0, 0, 1]), Data::A(40, [10, 0, 0, 2])])
        }
        ("app.internal.", AAAA) => {
            Reply::Records(vec![Data::Aaaa(50, [0xfd00, 0, 0, 0, 0, 0, 0, 1])])
        }
        _ => Reply::Code(NXDOMAIN),
    });
    let found = server.names().look_up_with_ttl("app.internal", 80).unwrap();
    assert_eq!(found.ttl, seconds(40));
    let mut addresses = found.addresses;
    addresses.sort_unstable();
    let expected = ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"];
    assert_eq!(addresses, expected.map(|text| text.parse().unwrap()));
}

#[test]
fn one_family_is_enough() {
    let server = NameServer::start(|_, kind| match kind {
        A => Reply::Records(vec![Data::A(7, [10, 0, 0, 1])]),
        _ => Reply::Code(SERVFAIL),
    });
    let found = server.names().look_up_with_ttl("app.internal", 80).unwrap();
    assert_eq!(found.addresses, ["10.0.0.1:80".parse().unwrap()]);
    assert_eq!(found.ttl, seconds(7));
}

#[test]
fn trouble_is_no_answer_and_the_system_is_not_asked_about_it() {
    for reply in [Reply::Silence, Reply::Code(SERVFAIL)] {
        let server = NameServer::start(move |_, _| reply.clone());
        let names = server.names();
        let error = names.look_up_with_ttl("system.internal", 80).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound, "{error}");
        let error = names.look_up_srv("_http._tcp.api.internal").unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}

#[test]
fn what_the_dns_has_not_the_system_may_have() {
    let server = NameServer::start(|_, _| Reply::Code(NXDOMAIN));
    let unread = names(|| Err(io::Error::other("no such file").into()));
    for names in [server.names(), unread] {
        let found = names.look_up_with_ttl("system.internal.", 80).unwrap();
        assert_eq!(found.addresses, ["10.9.9.9:80".parse().unwrap()]);
        assert_eq!(found.ttl, None);
        assert!(names.look_up_with_ttl("other.internal", 80).is_err());
        assert!(names.look_up_srv("_http._tcp.api.internal").is_err());
    }
}

#[test]
fn an_address_and_a_name_of_the_hosts_file_ask_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    let lines = "# 10.0.0.8 app.internal\n\nfe80::1%lo0 app.internal\n\
                 10.0.0.1\tother App.Internal # mine\n10.0.0.9 x.app.internal\r\n\
                 fd00::1 app.internal\n";
    std::fs::write(&file, lines).unwrap();
    let mut names = names(|| panic!("asked"));
    names.hosts = file;
    for (name, expected) in [
        ("app.internal.", vec!["10.0.0.1:80", "[fd00::1]:80"]),
        ("x.app.internal", vec!["10.0.0.9:80"]),
        ("10.0.0.7", vec!["10.0.0.7:80"]),
        ("::1", vec!["[::1]:80"]),
    ] {
        let found = names.look_up_with_ttl(name, 80).unwrap();
        let expected: Vec<SocketAddr> = expected.iter().map(|one| one.parse().unwrap()).collect();
        assert_eq!((found.addresses, found.ttl), (expected, None), "{name}");
    }
}

#[test]
fn a_service_that_is_not_offered_is_not_found() {
    let server = NameServer::start(|_, _| Reply::Records(vec![Data::Srv(60, [0, 0, 0], ".")]));
    let error = server.names().look_up_srv("_http._tcp.api.internal");
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_service_is_found_with_the_addresses_of_those_who_offer_it() {
    let server = NameServer::start(|name, kind| match (name, kind) {
        ("_http._tcp.api.internal.", SRV) => Reply::Records(vec![
            Data::Srv(60, [10, 5, 8081], "one.internal"),
            Data::Srv(60, [20, 0, 8082], "two.internal"),
            Data::Srv(60, [20, 0, 8083], "lost.internal"),
            Data::Srv(60, [0, 0, 0], "one.internal"),
        ]),
        ("one.internal.", A) => Reply::Records(vec![Data::A(30, [10, 0, 0, 1])]),
        ("two.internal.", A) => Reply::Records(vec![Data::A(90, [10, 0, 0, 2])]),
        ("lost.internal.", _) => Reply::Code(SERVFAIL),
        _ => Reply::Records(Vec::new()),
    });
    let resolver = Resolver::new(Arc::new(server.names()), 2, Duration::from_secs(5));
    let service = resolver
        .resolve_srv("_http._tcp.api.internal")
        .await
        .unwrap();
    assert_eq!(service.ttl, seconds(30));
    let offer = |target: &str, priority, weight| Offer {
        target: Target::parse(target).unwrap(),
        priority,
        weight,
    };
    let at = |last, port| Some(vec![SocketAddr::from(([10, 0, 0, last], port))]);
    let expected = vec![
        (offer("one.internal:8081", 10, 5), at(1, 8081)),
        (offer("two.internal:8082", 20, 0), at(2, 8082)),
        (offer("lost.internal:8083", 20, 0), None),
    ];
    assert_eq!(service.offers, expected);
}

#[tokio::test]
async fn no_more_addresses_are_looked_at_than_there_is_room_for() {
    let server = NameServer::start(|_, kind| match kind {
        A => Reply::Records((0..70).map(|last| Data::A(9, [10, 0, 0, last])).collect()),
        _ => Reply::Records(Vec::new()),
    });
    let resolver = Resolver::new(Arc::new(server.names()), 2, Duration::from_secs(5));
    let target = Target::parse("app.internal:80").unwrap();
    let found = resolver.resolve_with_ttl(&target).await.unwrap();
    assert_eq!(found.addresses.len(), 64);
    let ips = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    for ip in [IpAddr::from(ips.0), IpAddr::from(ips.1)] {
        let target = Target::new(Host::Ip(ip), 80).unwrap();
        let found = resolver.resolve_with_ttl(&target).await.unwrap();
        assert_eq!(found.addresses, [SocketAddr::new(ip, 80)]);
    }
}
