//! How many more may send a request on (RFC 9110 §7.6.2).

use std::borrow::Cow;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Fault;

/// What `Max-Forwards` says of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Forwards {
    /// Nothing, or nothing that is meant for its method.
    Unbounded,
    /// It is sent on, and may be this often by those behind.
    Left(u32),
    /// Nobody sends it on: whoever has it answers. No trace, though: that would show what hops before
    /// this one have added for it alone.
    Over,
}

impl Forwards {
    /// # Errors
    ///
    /// The field is not a number.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Result<Self, Fault> {
        if *method != Method::OPTIONS && *method != Method::TRACE {
            return Ok(Self::Unbounded);
        }
        let Some(said) = headers.get(&MAX_FORWARDS) else {
            return Ok(Self::Unbounded);
        };
        let said = said.to_str().ok().and_then(|said| said.parse::<u32>().ok());
        let said = said.ok_or(Fault::BadRequest(Cow::Borrowed(
            "found a Max-Forwards that is not a number",
        )))?;
        Ok(said.checked_sub(1).map_or(Self::Over, Self::Left))
    }

    /// Tells those behind.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        if let Self::Left(left) = self {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left));
        }
    }
}

const MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_for_two_methods_and_only_numbers() {
        let of = |method: Method, said: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(MAX_FORWARDS, HeaderValue::from_static(said));
            Forwards::of(&method, &headers)
        };
        for (method, said, forwards) in [
            (Method::OPTIONS, "0", Forwards::Over),
            (Method::TRACE, "00", Forwards::Over),
            (Method::OPTIONS, "1", Forwards::Left(0)),
            (Method::TRACE, "4294967295", Forwards::Left(4_294_967_294)),
            (Method::GET, "0", Forwards::Unbounded),
            (Method::POST, "no", Forwards::Unbounded),
        ] {
            assert_eq!(of(method, said).unwrap(), forwards, "{said}");
        }
        for said in ["", "-1", "1, 2", "4294967296", "one"] {
            assert_eq!(
                of(Method::OPTIONS, said).unwrap_err().status(),
                400,
                "{said}"
            );
        }
        let none = HeaderMap::new();
        let said = Forwards::of(&Method::OPTIONS, &none).unwrap();
        assert_eq!(said, Forwards::Unbounded);
    }
}
