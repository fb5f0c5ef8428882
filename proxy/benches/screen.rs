//! What the request screen costs, beside the parser that the engine runs anyway.
//!
//! `cargo bench -p risefall-proxy --bench screen`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use risefall_proxy::proto::screen::{Limits, Screen};

const CURL: &[u8] =
    b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

const BROWSER: &[u8] = b"GET /wiki/Special:Search?search=proxy&ns0=1 HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: http://www.example.com/wiki/Main_Page\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef0123456789abcdef; theme=dark; tz=60\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    for (name, head) in [("curl", CURL), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(format!("{name}/screen"), |bencher| {
            let mut screen = Screen::new(Limits::default());
            bencher.iter(|| assert_eq!(screen.inspect(black_box(head)), Ok(head.len())));
        });
        group.bench_function(format!("{name}/screen, cut in two"), |bencher| {
            let mut screen = Screen::new(Limits::default());
            let (left, right) = head.split_at(head.len() / 2);
            bencher.iter(|| {
                assert_eq!(screen.inspect(black_box(left)), Ok(left.len()));
                assert_eq!(screen.inspect(black_box(right)), Ok(right.len()));
            });
        });
        group.bench_function(format!("{name}/httparse"), |bencher| {
            bencher.iter(|| {
                let mut headers = [httparse::EMPTY_HEADER; 32];
                let status = httparse::Request::new(&mut headers).parse(black_box(head));
                assert_eq!(status, Ok(httparse::Status::Complete(head.len())));
            });
        });
    }
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    let mut screen = Screen::new(Limits::default());
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(screen.inspect(head), Ok(head.len()));
    for size in [64, 16 * 1024] {
        let chunk = [format!("{size:x}\r\n").as_bytes(), &vec![0; size], b"\r\n"].concat();
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function(format!("chunk of {size}"), |bencher| {
            bencher.iter(|| assert_eq!(screen.inspect(black_box(&chunk)), Ok(chunk.len())));
        });
    }
    group.finish();
}

criterion_group!(benches, heads, bodies);
criterion_main!(benches);
