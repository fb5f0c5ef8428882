//! The answer to a check by gRPC: one frame and nothing behind it; of its message the last status
//! counts, and fields that are not known are passed over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use risefall::check::Serving;
use risefall::check::codec::{GrpcError, grpc_answer};

fuzz_target!(|bytes: &[u8]| {
    // As a body.
    if grpc_answer(bytes).is_ok() {
        for cut in 0..bytes.len() {
            assert_eq!(grpc_answer(&bytes[..cut]), Err(GrpcError::Length));
        }
        assert_eq!(
            grpc_answer(&[bytes, b"\0"].concat()),
            Err(GrpcError::Length)
        );
    }
    // As the message in one.
    match grpc_answer(&frame(bytes)) {
        Ok(_) => {
            let later = [bytes, &[STATUS, 1]].concat();
            assert_eq!(grpc_answer(&frame(&later)), Ok(Serving::Serving));
            let unknown = [bytes, &[2 << 3 | 2, 1, b'x']].concat();
            assert_eq!(grpc_answer(&frame(&unknown)), grpc_answer(&frame(bytes)));
        }
        Err(error) => assert_eq!(error, GrpcError::Message),
    }
});

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap();
    [&[0][..], &len.to_be_bytes(), message].concat()
}

/// Field 1, a number.
const STATUS: u8 = 1 << 3;
