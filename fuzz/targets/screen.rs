//! The request screen: the same verdict however the stream is cut, and the same framing as another
//! parser for all that passes. What goes on in front of a request that is refused is whole.
//!
//! The first byte of the input picks limits and answers, the second the sizes of chunks; the stream
//! is behind them.
#![no_main]

#[path = "../../proxy/src/proto/screen/reference.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;
use reference::{Cut, cut_with_httparse};
use risefall_proxy::proto::screen::{Limits, Screen, Violation};

fuzz_target!(|bytes: &[u8]| {
    let [choice, sizes, stream @ ..] = bytes else {
        return;
    };
    let choice = Choice {
        has_small_limits: choice & 1 != 0,
        is_tunnel: choice & 2 != 0,
    };
    let whole = run(&choice, [stream]);
    assert_eq!(run(&choice, stream.chunks(1)), whole);
    assert_eq!(
        run(
            &choice,
            Pieces {
                rest: stream,
                sizes: *sizes
            }
        ),
        whole
    );
    if let Ok(Outcome { answers: 0, cut }) = whole {
        assert_eq!(cut_with_httparse(stream), cut);
    }
    let mut screen = Screen::new(choice.limits());
    let taken = screen.inspect(stream);
    if screen.violation().is_some() {
        assert!(cut_with_httparse(&stream[..taken.unwrap_or(0)]).is_clean);
    }
});

struct Choice {
    has_small_limits: bool,
    is_tunnel: bool,
}

impl Choice {
    fn limits(&self) -> Limits {
        if self.has_small_limits {
            Limits {
                request_line_bytes: 20,
                field_bytes: 60,
                field_count: 3,
            }
        } else {
            Limits::default()
        }
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    /// How often bytes were held back until an answer was given.
    answers: u32,
    cut: Cut,
}

/// Shows the chunks as a connection would, and answers once bytes are held back.
fn run<'a>(
    choice: &Choice,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Outcome, Violation> {
    let mut screen = Screen::new(choice.limits());
    let mut answers = 0;
    for mut chunk in chunks {
        loop {
            let passed = inspect(&mut screen, chunk)?;
            if let Some(violation) = screen.violation() {
                assert!(0 < passed && passed < chunk.len());
                assert_eq!(screen.inspect(&chunk[passed..]), Err(violation));
                return Err(violation);
            }
            chunk = &chunk[passed..];
            if chunk.is_empty() {
                break;
            }
            assert!(screen.is_undecided());
            assert_eq!(screen.inspect(chunk), Ok(0));
            answers += 1;
            if choice.is_tunnel {
                screen.tunnel()
            } else {
                screen.stay()
            }
            assert!(!screen.is_undecided());
        }
    }
    // The other parser does not know that a request may be the last one of HTTP.
    let is_clean = screen.is_between_requests() || screen.is_undecided();
    Ok(Outcome {
        answers,
        cut: Cut {
            heads: screen.heads(),
            is_clean,
        },
    })
}

fn inspect(screen: &mut Screen, chunk: &[u8]) -> Result<usize, Violation> {
    let verdict = screen.inspect(chunk);
    if let Err(violation) = verdict {
        assert_eq!(screen.inspect(b"GET"), Err(violation));
        assert!((400..600).contains(&violation.status()));
    }
    verdict
}

/// Cuts a stream into pieces of changing size, the same each time.
struct Pieces<'a> {
    rest: &'a [u8],
    sizes: u8,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.sizes = self.sizes.wrapping_mul(37).wrapping_add(101);
        let size = usize::from(self.sizes % 32).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(size);
        self.rest = rest;
        Some(piece)
    }
}
