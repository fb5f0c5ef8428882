//! Whether a page or JSON is asked for.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

use crate::proto::coding::read_weight;

/// Whether `Accept` puts `application/json` above `text/html` (RFC 9110 §12.5.1).
///
/// At the same quality the one that is named counts more than the one that is only meant by a `*`:
/// `application/json, */*` is what scripts send. Who names neither gets a page.
#[must_use]
pub fn is_json_wanted(headers: &HeaderMap) -> bool {
    let mut json = Wanted::default();
    let mut html = Wanted::default();
    for line in headers.get_all(ACCEPT) {
        for range in line.as_bytes().split(|&byte| byte == b',') {
            let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            // The weight ends the range's parameters, which tell nothing that a listing has.
            let is_weight = |part: &[u8]| part.to_ascii_lowercase().starts_with(b"q=");
            let quality = match parts.find(|part| is_weight(part)) {
                Some(weight) => read_weight(weight),
                None => Some(1000),
            };
            let Some(quality) = quality else {
                continue;
            };
            json.hear(name, ["*/*", "application/*", "application/json"], quality);
            html.hear(name, ["*/*", "text/*", "text/html"], quality);
        }
    }
    json.quality > 0 && (json.quality, json.rank) > (html.quality, html.rank)
}

/// What the most exact range for a type said.
#[derive(Default)]
struct Wanted {
    quality: u16,
    /// How exact it was; 0 if there was none.
    rank: usize,
}

impl Wanted {
    /// Takes a range if it is the same as one of `ranges`, which become more exact.
    fn hear(&mut self, range: &[u8], ranges: [&str; 3], quality: u16) {
        let place = ranges
            .iter()
            .position(|known| range.eq_ignore_ascii_case(known.as_bytes()));
        let rank = place.map_or(0, |place| place + 1);
        if rank > self.rank || (rank > 0 && rank == self.rank && quality > self.quality) {
            *self = Self { quality, rank };
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn json_is_for_who_wants_it_more_than_a_page() {
        for (lines, expected) in [
            (&[][..], false),
            (&[""], false),
            (&["*/*"], false),
            (&["application/json"], true),
            (&["APPLICATION/JSON"], true),
            (&["application/json;charset=utf-8"], true),
            (&["application/*"], true),
            (&["application/json, text/plain, */*"], true),
            (&["application/json, */*;q=0.5"], true),
            (&["application/json;q=0.5, */*"], false),
            (&["application/json, text/html"], false),
            (&["text/html, application/json"], false),
            (&["text/html;q=0.9, application/json"], true),
            (&["text/html, application/json;q=0.9"], false),
            (&["text/html;q=0, */*"], true),
            (&["text/*, application/json"], true),
            (&["application/json;q=0, */*"], false),
            (&["application/json;q=0"], false),
            (&["application/json;q=2, text/html;q=0.1"], false),
            (&["application/json ; Q=0.2 , text/html;q=0.1"], true),
            (
                &["text/html;level=1;q=0.1, application/json;v=1;q=0.2"],
                true,
            ),
            (
                &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
                false,
            ),
            (&["text/html;q=0.5", "application/json"], true),
            (&["application/json-seq"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ACCEPT, HeaderValue::from_static(line));
            }
            assert_eq!(is_json_wanted(&headers), expected, "{lines:?}");
        }
    }
}
