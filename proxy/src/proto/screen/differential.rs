//! The screen against another parser, over a few good streams with every small mistake at every
//! place.

use super::{
    Limits, Screen,
    reference::{Cut, cut_with_httparse},
};

fn assert_frames_alike(stream: &[u8]) -> bool {
    let mut screen = Screen::new(Limits::default());
    let taken = screen.inspect(stream);
    if screen.violation().is_some() {
        let sound = &stream[..taken.unwrap_or(0)];
        let is_clean = cut_with_httparse(sound).is_clean;
        assert!(is_clean, "{}", stream.escape_ascii());
        return false;
    }
    assert_eq!(taken, Ok(stream.len()));
    let cut = Cut {
        heads: screen.heads(),
        is_clean: screen.is_between_requests(),
    };
    assert_eq!(cut_with_httparse(stream), cut, "{}", stream.escape_ascii());
    true
}

const STREAMS: [&[u8]; 3] = [
    b"GET /a?b HTTP/1.1\r\nHost: a.example:80\r\nX:\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nhello\r\n\r\n0\r\nGET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
      05\r\nhello\r\n1a;b=c\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
];

const MISTAKES: [&[u8]; 15] = [
    b"",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\n\n",
    b"0\r\n\r\n",
    b"\r\nContent-Length: 3",
    b"\r\nContent-Length: 3\r\n\r\n",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nTransfer-Encoding : chunked",
    b"chunked, ",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b" HTTP/1.1",
];

#[test]
fn what_passes_is_cut_alike_by_another_parser() {
    let (mut passed, mut tried) = (0, 0);
    for stream in STREAMS {
        assert!(assert_frames_alike(stream));
        for at in 0..=stream.len() {
            let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
            for mistake in MISTAKES.iter().map(|mistake| mistake.to_vec()).chain(bytes) {
                for dropped in 0..=2.min(stream.len() - at) {
                    let mutant = [&stream[..at], &mistake, &stream[at + dropped..]].concat();
                    passed += u32::from(assert_frames_alike(&mutant));
                    tried += 1;
                }
            }
        }
    }
    // Enough on both sides that the comparison means something.
    assert!(
        passed > tried / 10 && passed < tried * 9 / 10,
        "{passed} of {tried} passed"
    );
}
