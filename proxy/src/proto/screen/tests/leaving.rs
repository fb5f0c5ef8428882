//! Requests that want to leave HTTP: CONNECT and upgrades, granted and refused.

use super::super::{Limits, Screen, Violation};
use super::{NEXT, judge, post};

const CONNECT: &[u8] = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn screen_after(bytes: &[u8]) -> Screen {
    let mut screen = Screen::new(Limits::default());
    assert_eq!(screen.inspect(bytes), Ok(bytes.len()));
    assert!(screen.is_undecided() && !screen.is_between_requests());
    screen
}

#[test]
fn bytes_behind_a_wish_to_leave_http_are_held_back() {
    for head in [CONNECT, UPGRADE] {
        let stream = [head, b"\x16\x03\x01"].concat();
        assert_eq!(judge(&stream), Ok((head.len(), 1, false)));
    }
}

#[test]
fn a_tunnel_passes_anything() {
    for head in [CONNECT, UPGRADE] {
        let mut screen = screen_after(head);
        assert_eq!(screen.inspect(b"\x16early"), Ok(0));
        screen.tunnel();
        assert_eq!(screen.inspect(b"\x16early\0\n"), Ok(8));
        screen.stay();
        assert_eq!(screen.inspect(b"\0\n"), Ok(2), "a tunnel never ends");
    }
}

#[test]
fn a_refused_wish_leads_to_the_next_request() {
    for head in [CONNECT, UPGRADE] {
        let mut screen = screen_after(head);
        screen.stay();
        assert!(screen.is_between_requests());
        assert_eq!(screen.inspect(NEXT), Ok(NEXT.len()));
        assert_eq!(screen.heads(), 2);
        assert_eq!(screen.inspect(b"\n"), Err(Violation::BareLf));
    }
}

#[test]
fn early_bytes_behind_a_refused_connect_are_never_a_request() {
    let mut screen = screen_after(CONNECT);
    assert_eq!(screen.inspect(NEXT), Ok(0));
    screen.stay();
    assert_eq!(screen.inspect(NEXT), Err(Violation::EarlyBytes));
}

#[test]
fn a_request_behind_a_refused_upgrade_is_one() {
    let mut screen = screen_after(UPGRADE);
    assert_eq!(screen.inspect(NEXT), Ok(0));
    screen.stay();
    assert_eq!(screen.inspect(NEXT), Ok(NEXT.len()));
}

#[test]
fn a_connect_has_no_body() {
    let connect = |field| format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n{field}\r\n\r\n");
    for field in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
        assert_eq!(
            judge(connect(field).as_bytes()),
            Err(Violation::ConnectBody)
        );
    }
    let empty = connect("Content-Length: 0");
    assert_eq!(judge(empty.as_bytes()), Ok((empty.len(), 1, false)));
}

#[test]
fn an_upgrade_with_a_body_is_decided_behind_the_body() {
    let fields = "Upgrade: h2c\r\nContent-Length: 2\r\n";
    let head = post(fields, "");
    assert_eq!(
        judge(&post(fields, "okHELD")),
        Ok((head.len() + 2, 1, false))
    );
    for is_tunnel in [true, false] {
        let mut screen = Screen::new(Limits::default());
        assert_eq!(screen.inspect(&head), Ok(head.len()));
        if is_tunnel {
            screen.tunnel();
        } else {
            screen.stay();
        }
        // The body goes on, and what is behind it only into a tunnel.
        let passed = if is_tunnel { 5 } else { 2 };
        assert_eq!(screen.inspect(b"ok\0\r\n"), Ok(passed));
        let broken = (!is_tunnel).then_some(Violation::ControlByte);
        assert_eq!(screen.violation(), broken);
    }
}

#[test]
fn a_decision_nobody_waits_for_changes_nothing() {
    let mut screen = Screen::new(Limits::default());
    screen.tunnel();
    assert_eq!(screen.inspect(NEXT), Ok(NEXT.len()));
    screen.tunnel();
    assert_eq!(screen.inspect(b"\n"), Err(Violation::BareLf));
}
