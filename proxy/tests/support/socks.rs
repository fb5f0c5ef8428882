//! SOCKS5 from the client's side.

use std::net::SocketAddr;

use super::Client;

/// A SOCKS5 handshake without authentication; gives the reply code and the bound address's bytes.
pub async fn socks5(client: &mut Client, address: &[u8]) -> (u8, Vec<u8>) {
    client.send([5, 1, 0]).await;
    assert_eq!(client.take(2).await, [5, 0]);
    client.send([&[5, 1, 0], address].concat()).await;
    let reply = client.take(4).await;
    assert_eq!((reply[0], reply[2]), (5, 0));
    let bound = match reply[3] {
        1 => client.take(6).await,
        4 => client.take(18).await,
        other => panic!("address type {other}"),
    };
    (reply[1], bound)
}

/// A SOCKS5 address.
pub fn socks5_address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        std::net::IpAddr::V4(ip) => [&[1], &ip.octets()[..]].concat(),
        std::net::IpAddr::V6(ip) => [&[4], &ip.octets()[..]].concat(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}

pub fn socks5_name(name: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![3, name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}
