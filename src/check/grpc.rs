//! gRPC's health protocol, the bytes of it: one message there, one back. The two messages of
//! `grpc.health.v1` have one field each, so their encoding is written out here.
//!
//! Framing: gRPC over HTTP/2, "Length-Prefixed-Message". Encoding: Protocol Buffers.

/// What a service says of itself (`HealthCheckResponse.ServingStatus`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Serving {
    /// It does not know.
    Unknown,
    /// It serves.
    Serving,
    /// It does not.
    NotServing,
    /// The server does not know the service.
    ServiceUnknown,
    /// A number that the protocol has no word for.
    Other(i32),
}

/// What an answer says that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GrpcError {
    /// It is compressed, which was not asked for.
    #[error("the message is compressed")]
    Compressed,
    /// It ends before its length, or goes on behind it.
    #[error("the message is not as long as it says")]
    Length,
    /// It is no message of Protocol Buffers.
    #[error("the message cannot be read")]
    Message,
}

impl Serving {
    /// The word of the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
            Self::Other(_) => "of no known number",
        }
    }

    fn of(number: i32) -> Self {
        match number {
            0 => Self::Unknown,
            1 => Self::Serving,
            2 => Self::NotServing,
            3 => Self::ServiceUnknown,
            other => Self::Other(other),
        }
    }
}

/// The frame that asks for `service`: not compressed, its length, and field 1 if it has one. Names
/// are of bounded length, see [`Grpc`](super::Grpc).
#[must_use]
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE);
        let mut len = service.len();
        while len >= 0x80 {
            message.push(low_bits(len) | 0x80);
            len >>= 7;
        }
        message.push(low_bits(len));
        message.extend_from_slice(service.as_bytes());
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend_from_slice(&len.to_be_bytes());
    frame.append(&mut message);
    frame
}

/// What the body of an answer says: one frame, and nothing behind it.
///
/// # Errors
///
/// It is no such frame, or its message none of Protocol Buffers.
pub fn answer(body: &[u8]) -> Result<Serving, GrpcError> {
    let (flag, rest) = body.split_first().ok_or(GrpcError::Length)?;
    let (len, message) = rest.split_first_chunk().ok_or(GrpcError::Length)?;
    if usize::try_from(u32::from_be_bytes(*len)) != Ok(message.len()) {
        return Err(GrpcError::Length);
    }
    match flag {
        0 => status(message),
        _ => Err(GrpcError::Compressed),
    }
}

/// The last field 1 of the message; the default of an enumeration is its zero. Other fields are
/// passed over.
fn status(mut message: &[u8]) -> Result<Serving, GrpcError> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 0b111) {
            (0, _) => return Err(GrpcError::Message),
            // An enumeration is 32 bits of what may be sent as 64.
            (1, 0) => status = varint(&mut message)? as u32 as i32,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => skip(&mut message, 8)?,
            (_, 2) => {
                let len = varint(&mut message)?;
                skip(&mut message, len)?;
            }
            (_, 5) => skip(&mut message, 4)?,
            // Groups are of the past, and nothing else is.
            _ => return Err(GrpcError::Message),
        }
    }
    Ok(Serving::of(status))
}

fn varint(message: &mut &[u8]) -> Result<u64, GrpcError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or(GrpcError::Message)?;
        *message = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(GrpcError::Message);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(GrpcError::Message)
}

fn skip(message: &mut &[u8], len: u64) -> Result<(), GrpcError> {
    let len = usize::try_from(len).map_err(|_| GrpcError::Message)?;
    *message = message.get(len..).ok_or(GrpcError::Message)?;
    Ok(())
}

fn low_bits(len: usize) -> u8 {
    u8::try_from(len & 0x7f).unwrap_or_default()
}

/// Field 1, which is a text.
const SERVICE: u8 = 1 << 3 | 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_frames_with_one_field_or_none() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("abc"), b"\0\0\0\0\x05\x0a\x03abc");
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 303);
    }

    #[test]
    fn answers_are_read_by_the_table() {
        for (body, serving) in [
            (&b"\0\0\0\0\0"[..], Serving::Unknown),
            (b"\0\0\0\0\x02\x08\0", Serving::Unknown),
            (b"\0\0\0\0\x02\x08\x01", Serving::Serving),
            (b"\0\0\0\0\x02\x08\x02", Serving::NotServing),
            (b"\0\0\0\0\x02\x08\x03", Serving::ServiceUnknown),
            (b"\0\0\0\0\x03\x08\x81\0", Serving::Serving),
            (b"\0\0\0\0\x03\x08\xac\x02", Serving::Other(300)),
            // Minus one.
            (
                b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                Serving::Other(-1),
            ),
            // The last one counts, and fields that are not known are passed over.
            (b"\0\0\0\0\x04\x08\x02\x08\x01", Serving::Serving),
            (
                b"\0\0\0\0\x16\x12\x02hi\x1d\0\0\0\0\x21\0\0\0\0\0\0\0\0\x28\x01\x08\x01",
                Serving::Serving,
            ),
        ] {
            assert_eq!(answer(body), Ok(serving), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (body, error) in [
            (&b""[..], GrpcError::Length),
            (b"\0\0\0\0\x03\x08\x01", GrpcError::Length),
            (b"\0\0\0\0\x01\x08\x01", GrpcError::Length),
            (b"\0\xff\xff\xff\xff\x08\x01", GrpcError::Length),
            (b"\x01\0\0\0\x02\x08\x01", GrpcError::Compressed),
            (b"\0\0\0\0\x01\x08", GrpcError::Message),
            (b"\0\0\0\0\x02\x00\x01", GrpcError::Message),
            (b"\0\0\0\0\x02\x0b\x01", GrpcError::Message),
            (b"\0\0\0\0\x03\x12\x05h", GrpcError::Message),
            (
                b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
                GrpcError::Message,
            ),
        ] {
            assert_eq!(answer(body), Err(error), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn no_part_of_an_answer_is_an_answer() {
        let whole = b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        for len in 0..whole.len() {
            assert!(answer(&whole[..len]).is_err(), "{len}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_have_a_decided_outcome(body: Vec<u8>) {
            let _ = answer(&body);
            let mut frame = vec![0];
            frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&body);
            proptest::prop_assert_ne!(answer(&frame), Err(GrpcError::Length));
        }
    }
}
