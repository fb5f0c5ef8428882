//! Content codings: in which forms a client takes what it asks for (RFC 9110 §12.5.3).
//!
//! A coding is sent only to who takes it by name or by `*`. Without `Accept-Encoding` every coding
//! would be allowed, but who does not send it mostly cannot read any, so the plain form is sent, as
//! it is for an empty field.
//!
//! The plain form is a coding too, named `identity`, and `*` means it as well unless it is named.
//! Three rules follow:
//!
//! - A coding is chosen if its quality is above 0 and not below that of `identity`. At the same
//!   quality it wins, since it is shorter.
//! - If `identity` is meant by nothing, it is allowed, but less wanted than all that is named
//!   (`gzip;q=0.1` asks for gzip).
//! - If nothing that is there is taken, the plain form is sent, even against `identity;q=0`: a
//!   client can do more with it than with an error (§12.1 leaves that to the server).
//!
//! A member with a mistake, be it in its quality, is passed over. Of a coding that is named twice
//! the higher quality counts, so that the order of members and lines means nothing.

use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

use super::trim;

/// A coding that we write or find on disk.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Coding {
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
    /// Gzip (RFC 1952).
    Gzip,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Br, Self::Zstd, Self::Gzip];

    /// Its name in `Content-Encoding`.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The extension of files that are coded so, without a dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zst",
            Self::Gzip => "gz",
        }
    }
}

/// What a client takes: the quality of each form, in thousandths.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Accepted {
    br: u16,
    zstd: u16,
    gzip: u16,
    /// 0 if it is excluded, and if nothing means it: all that is taken is wanted more.
    identity: u16,
}

impl Accepted {
    /// What `Accept-Encoding` says, in all its lines.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = Said::default();
        for line in headers.get_all(ACCEPT_ENCODING) {
            for member in line.as_bytes().split(|&byte| byte == b',') {
                said.hear(member);
            }
        }
        let quality = |named: Option<u16>| named.or(said.any).unwrap_or(0);
        Self {
            br: quality(said.br),
            zstd: quality(said.zstd),
            gzip: quality(said.gzip),
            identity: quality(said.identity),
        }
    }

    /// Whether there is a coding that would be chosen over the plain form.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.best(Coding::ALL).is_some()
    }

    /// The best of `order` (what there is, the server's favourite first), or `None` for the plain
    /// form.
    pub fn best(&self, order: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        let mut best = None;
        let mut best_quality = 0;
        for coding in order {
            let quality = self.quality(coding);
            if quality > best_quality && quality >= self.identity {
                (best, best_quality) = (Some(coding), quality);
            }
        }
        best
    }

    const fn quality(&self, coding: Coding) -> u16 {
        match coding {
            Coding::Br => self.br,
            Coding::Zstd => self.zstd,
            Coding::Gzip => self.gzip,
        }
    }
}

/// The members read so far; `None` is what was not named.
#[derive(Default)]
struct Said {
    br: Option<u16>,
    zstd: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    /// `*`
    any: Option<u16>,
}

impl Said {
    fn hear(&mut self, member: &[u8]) {
        let mut halves = member.splitn(2, |&byte| byte == b';');
        let name = trim(halves.next().unwrap_or_default());
        let Some(place) = self.place(name) else {
            return;
        };
        let quality = match halves.next() {
            Some(weight) => read_weight(trim(weight)),
            None => Some(QUALITY_MAX),
        };
        // What is not there is below all numbers.
        *place = (*place).max(quality);
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut Option<u16>> {
        let is = |token: &str| name.eq_ignore_ascii_case(token.as_bytes());
        Some(if is("gzip") || is("x-gzip") {
            &mut self.gzip
        } else if is("br") {
            &mut self.br
        } else if is("zstd") {
            &mut self.zstd
        } else if is("identity") {
            &mut self.identity
        } else if is("*") {
            &mut self.any
        } else {
            return None;
        })
    }
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2).
pub(crate) fn read_weight(weight: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), rest @ ..] = weight else {
        return None;
    };
    let decimals = match rest {
        [] => rest,
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    let mut quality = u16::from(whole - b'0') * QUALITY_MAX;
    for (digit, place) in decimals.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        quality += u16::from(digit - b'0') * place;
    }
    (quality <= QUALITY_MAX).then_some(quality)
}

/// Quality 1.
const QUALITY_MAX: u16 = 1000;

#[cfg(test)]
mod tests;
