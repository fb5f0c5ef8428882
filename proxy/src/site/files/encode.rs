//! Compression of what is on its way.
//!
//! A compressor holds a window of what it has seen and tables to find repetitions in it, for as
//! long as its client takes to read. So each is set such that a stream costs about a megabyte or
//! less, whatever the size of the file. Measured on 6 MB of web pages, styles, scripts and JSON, in
//! pieces of 16 KiB, 32 streams alive, by what the process grew:
//!
//! | coding | settings | a stream holds | of the size is left | speed |
//! |---|---|---|---|---|
//! | zstd | level 3, window 2^18, tables of 2^15 and 2^14 | 980 KiB | 19.0 % | 340 MB/s |
//! | zstd | level 3, window 2^18 | 1495 KiB | 18.9 % | 290 MB/s |
//! | gzip | level 6 | 563 KiB | 18.7 % | 74 MB/s |
//! | brotli | quality 3, window 2^16 | 1122 KiB | 22.0 % | 111 MB/s |
//! | brotli | quality 4, window 2^18 | 3896 KiB | 19.3 % | 59 MB/s |
//! | brotli | quality 5, window 2^17 | 3647 KiB | 23.8 % | 29 MB/s |
//!
//! Hence the [order](FOR_STREAMS) in which they are offered for a stream: brotli, which shines where
//! it may take its time and its memory, comes last. Of 16 KiB at once its quality 5 leaves 4073
//! bytes in 0.6 ms, gzip 4277 in 0.15 ms, zstd 4607 in 0.06 ms: it comes [first](FOR_WHOLES), since
//! what is small is kept.
//!
//! The same bytes give the same result: a gzip has neither a name nor a time in it.

use std::io::{self, Write};
use std::mem;

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;
use zstd::zstd_safe::CParameter;

use crate::proto::coding::Coding;

/// Codings for what is compressed piece by piece, the best first.
pub const FOR_STREAMS: [Coding; 3] = [Coding::Zstd, Coding::Gzip, Coding::Br];

/// Codings for what is small, and compressed once for many.
pub const FOR_WHOLES: [Coding; 3] = [Coding::Br, Coding::Zstd, Coding::Gzip];

/// Compresses `bytes`, all at once. Meant for what is small: the time grows with it.
///
/// # Errors
///
/// There is no memory.
pub fn whole(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::sized(coding, Some(bytes.len()))?;
    let mut out = Vec::new();
    encoder.write(bytes, &mut out)?;
    encoder.finish(&mut out)?;
    Ok(out)
}

/// Compresses what comes piece by piece.
///
/// It gives out what it has when it has gathered enough for a block, so many a piece gives
/// nothing, and the last one up to a block. Dropped before its end it leaves nothing behind; what
/// it gave out is then no whole stream.
pub struct Encoder(Inner);

impl Encoder {
    /// A stream of its own.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(coding: Coding) -> io::Result<Self> {
        Self::sized(coding, None)
    }

    /// Takes `bytes`, and appends to `out` what can be sent already.
    ///
    /// # Errors
    ///
    /// The compressor failed, and what it gave out so far is of no use.
    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        // The compressors write to what they own: it is lent to them for the call.
        mem::swap(self.0.sink(), out);
        let written = self.0.writer().write_all(bytes);
        mem::swap(self.0.sink(), out);
        written
    }

    /// Appends to `out` all that is left, and the end of the stream.
    ///
    /// # Errors
    ///
    /// The compressor failed, and what was in `out` is gone.
    pub fn finish(mut self, out: &mut Vec<u8>) -> io::Result<()> {
        mem::swap(self.0.sink(), out);
        *out = match self.0 {
            Inner::Brotli(encoder) => encoder.into_inner(),
            Inner::Zstd(encoder) => encoder.finish()?,
            Inner::Gzip(encoder) => encoder.finish()?,
        };
        Ok(())
    }

    /// With a known size, which is then the whole, it costs no more than that needs.
    fn sized(coding: Coding, size: Option<usize>) -> io::Result<Self> {
        Ok(Self(match coding {
            Coding::Br => {
                let (quality, lgwin) = match size {
                    Some(_) => BROTLI_WHOLE,
                    None => BROTLI_STREAM,
                };
                let params = BrotliEncoderParams {
                    quality,
                    lgwin,
                    size_hint: size.unwrap_or(0),
                    ..BrotliEncoderParams::default()
                };
                let writer = CompressorWriter::with_params(Vec::new(), BROTLI_PIECE, &params);
                Inner::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG))?;
                encoder.set_parameter(CParameter::HashLog(ZSTD_HASH_LOG))?;
                encoder.set_parameter(CParameter::ChainLog(ZSTD_CHAIN_LOG))?;
                encoder.set_pledged_src_size(size.and_then(|size| size.try_into().ok()))?;
                Inner::Zstd(encoder)
            }
            Coding::Gzip => {
                let level = Compression::new(GZIP_LEVEL);
                Inner::Gzip(GzEncoder::new(Vec::new(), level))
            }
        }))
    }
}

enum Inner {
    /// In a box: it has thousands of bytes of its own.
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Inner {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
            Self::Gzip(encoder) => encoder,
        }
    }

    fn sink(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        }
    }
}

/// Quality and window (as a power of 2) for a stream: the most that stays near a megabyte. Above,
/// tables and buffers grow to several.
const BROTLI_STREAM: (i32, i32) = (3, 16);

/// The same for a whole: the first quality that is worth its name, and a window that holds more
/// than what is kept.
const BROTLI_WHOLE: (i32, i32) = (5, 18);

/// How many bytes are handed on at once; they go to memory.
const BROTLI_PIECE: usize = 4096;

/// The library's own default: above, its speed falls by a factor.
const ZSTD_LEVEL: i32 = 3;

/// A window of 256 KiB; a client need not take more than 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 18;

/// Entries of the table of long repetitions, 4 bytes each. The level would take 4 times as many,
/// for a thousandth of the size.
const ZSTD_HASH_LOG: u32 = 15;

/// The same for short ones.
const ZSTD_CHAIN_LOG: u32 = 14;

/// What the tool and most servers use. The window is 32 KiB by the format.
const GZIP_LEVEL: u32 = 6;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Br, Coding::Zstd, Coding::Gzip];

    /// Text with repetitions near and far, and noise between them.
    fn text(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut text = Vec::new();
        while text.len() < len {
            let number = random.u32(..1000);
            text.extend_from_slice(
                format!("<li id=\"n{number}\">entry {number}</li>\n").as_bytes(),
            );
        }
        text.truncate(len);
        text
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(8);
        (0..len).map(|_| random.u8(..)).collect()
    }

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes)
                .unwrap()
                .read_to_end(&mut out),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        }
        .unwrap();
        out
    }

    fn streamed(coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = Encoder::new(coding).unwrap();
        let mut all = b"before".to_vec();
        for piece in pieces {
            encoder.write(piece, &mut all).unwrap();
        }
        encoder.finish(&mut all).unwrap();
        assert!(all.starts_with(b"before"), "what is there stays there");
        all.split_off(6)
    }

    #[test]
    fn what_is_compressed_reads_back() {
        for coding in CODINGS {
            for bytes in [
                Vec::new(),
                b"a".to_vec(),
                text(20_000),
                noise(20_000),
                vec![0; 300_000],
            ] {
                let packed = whole(coding, &bytes).unwrap();
                assert_eq!(
                    decoded(coding, &packed),
                    bytes,
                    "{coding:?} {}",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn how_it_was_cut_into_pieces_does_not_matter() {
        let bytes = text(700_000);
        for coding in CODINGS {
            for size in [1_009, 4_096, 65_537, 1_000_000] {
                let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
                let packed = streamed(coding, &pieces);
                assert!(decoded(coding, &packed) == bytes, "{coding:?} {size}");
                assert!(
                    packed.len() * 3 < bytes.len(),
                    "{coding:?} {}",
                    packed.len()
                );
            }
            let few = &bytes[..3_000];
            let pieces: Vec<&[u8]> = few.chunks(1).collect();
            assert!(
                decoded(coding, &streamed(coding, &pieces)) == few,
                "{coding:?}"
            );
        }
    }

    #[test]
    fn a_stream_of_nothing_is_one() {
        for coding in CODINGS {
            for pieces in [&[][..], &[&b""[..]], &[&b""[..], b""]] {
                let packed = streamed(coding, pieces);
                assert!(!packed.is_empty(), "{coding:?}");
                assert_eq!(decoded(coding, &packed), b"", "{coding:?}");
            }
        }
    }

    /// What cannot be compressed is at most a little longer, and is not held back until the end.
    #[test]
    fn output_keeps_up_with_input_and_hardly_exceeds_it() {
        let bytes = noise(1 << 20);
        for coding in CODINGS {
            let mut encoder = Encoder::new(coding).unwrap();
            let (mut taken, mut given) = (0, 0);
            for piece in bytes.chunks(16 * 1024) {
                let mut out = Vec::new();
                encoder.write(piece, &mut out).unwrap();
                taken += piece.len();
                given += out.len();
                assert!(
                    given + 384 * 1024 >= taken,
                    "{coding:?} holds {}",
                    taken - given
                );
            }
            let mut out = Vec::new();
            encoder.finish(&mut out).unwrap();
            given += out.len();
            assert!(given < taken + taken / 256 + 64, "{coding:?} {given}");
        }
    }

    #[test]
    fn the_same_file_gives_the_same_bytes() {
        for coding in CODINGS {
            let bytes = text(5_000);
            assert_eq!(
                whole(coding, &bytes).unwrap(),
                whole(coding, &bytes).unwrap()
            );
        }
        let packed = whole(Coding::Gzip, b"a").unwrap();
        assert_eq!(packed[..4], [0x1F, 0x8B, 8, 0], "no name in it");
        assert_eq!(packed[4..8], [0; 4], "no time in it");
    }

    /// Decoders of HTTP need not hold more than 8 MiB (RFC 9659); ours promises less.
    #[test]
    fn a_zstd_window_is_one_that_every_client_takes() {
        let packed = streamed(Coding::Zstd, &[&text(1 << 20)]);
        let mut decoder = zstd::stream::read::Decoder::new(&packed[..]).unwrap();
        decoder.window_log_max(ZSTD_WINDOW_LOG).unwrap();
        let read = io::copy(&mut decoder, &mut io::sink()).unwrap();
        assert_eq!(read, 1 << 20);
    }

    #[test]
    fn a_stream_may_move_to_another_thread() {
        fn moves<T: Send>() {}
        moves::<Encoder>();
    }
}
