//! The answer to a check by HTTP/1: the same however it is cut, and no more of it than is wanted.
//!
//! The first byte of the input picks what is asked, the second the size of pieces; the answer is
//! behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall::check::codec::{Answer, AnswerError, Decoder};
use risefall::check::{BodyMatch, Http};

fuzz_target!(|bytes: &[u8]| {
    let [choice, size, stream @ ..] = bytes else {
        return;
    };
    let http = asked(*choice);
    let whole = read(&http, [stream]);
    assert_eq!(read(&http, stream.chunks(1)), whole);
    assert_eq!(read(&http, stream.chunks(usize::from(*size) + 1)), whole);
    if let Ok(answer) = &whole {
        assert!((200..600).contains(&answer.status) || answer.status == 101);
        assert!(answer.body.len() <= most(*choice));
        // What comes behind its end changes nothing.
        assert_eq!(read(&http, [&stream[..end(&http, stream)]]), whole);
    }
});

/// How much of a body is wanted.
fn most(choice: u8) -> usize {
    [0, 1, 7, 4096][usize::from(choice & 0b11)]
}

fn asked(choice: u8) -> Http {
    let method = if choice & 0b100 == 0 { "GET" } else { "HEAD" };
    let http = Http::new("/").unwrap().agent_header("x-agent").unwrap();
    let http = http.method(method).unwrap();
    match most(choice) {
        0 => http,
        most => {
            let body = BodyMatch::Contains(b"x".to_vec());
            http.body(body).body_bytes(most).unwrap()
        }
    }
}

/// The answer in these pieces; closed behind them.
fn read<'a>(
    http: &Http,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, AnswerError> {
    let mut decoder = Decoder::new(http);
    for piece in pieces {
        if let Some(answer) = decoder.handle_bytes(piece)? {
            return Ok(answer);
        }
    }
    decoder.handle_close()
}

/// How many bytes an answer takes that can be read.
fn end(http: &Http, stream: &[u8]) -> usize {
    let mut decoder = Decoder::new(http);
    let mut pieces = stream.chunks(1);
    let is_whole = |piece| decoder.handle_bytes(piece).unwrap().is_some();
    pieces.position(is_whole).map_or(stream.len(), |at| at + 1)
}
