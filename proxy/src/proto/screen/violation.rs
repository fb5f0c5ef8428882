//! What the screen refuses, and the status that says so.

/// Why a connection is refused; whatever follows on it cannot be trusted to be a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The request line is longer than the limit.
    #[error("request line is too long")]
    RequestLineTooLong,
    /// The fields of one head, or of one trailer section, are longer than the limit.
    #[error("header fields are too long")]
    FieldsTooLong,
    /// One head, or one trailer section, has more fields than the limit.
    #[error("too many header fields")]
    TooManyFields,
    /// A line ends in LF without CR: some parsers end a line there, some do not.
    #[error("line ends in a line feed without a carriage return")]
    BareLf,
    /// CR within a line: some parsers take it for the end of one.
    #[error("carriage return within a line")]
    BareCr,
    /// A control byte other than a tab, NUL among them.
    #[error("control byte within a line")]
    ControlByte,
    /// More empty lines before a request than a careless client sends.
    #[error("more than two empty lines before a request")]
    EmptyLines,
    /// Not `method SP target SP version`, each one free of spaces.
    #[error("request line is not a method, a target and a version with one space between")]
    RequestLine,
    /// A version that is neither 1.0 nor 1.1.
    #[error("http version is not 1.0 or 1.1")]
    Version,
    /// A field line that starts with white space: obsolete folding, or a hidden line.
    #[error("field line starts with white space")]
    Folding,
    /// A field line without a colon.
    #[error("field line has no colon")]
    NoColon,
    /// White space between name and colon: some parsers drop it, some drop the field.
    #[error("white space before the colon of a field")]
    SpaceBeforeColon,
    /// A field name that is empty or holds a byte no token has.
    #[error("field name is empty or not a token")]
    FieldName,
    /// HTTP/1.1 without `Host`.
    #[error("http/1.1 request has no host field")]
    MissingHost,
    /// More than one `Host`.
    #[error("request has several host fields")]
    SeveralHosts,
    /// A `Host` with a byte that no host or port has.
    #[error("host field is not one host")]
    BadHost,
    /// Not plain digits, or 2^63 and more.
    #[error("content-length is not one plain decimal number below 2^63")]
    BadLength,
    /// More than one `Content-Length`, even if they agree.
    #[error("request has several content-length fields")]
    SeveralLengths,
    /// Both ways to say where a body ends.
    #[error("request has both content-length and transfer-encoding")]
    LengthAndCoding,
    /// A list of codings that is malformed, or that has `chunked` before its end.
    #[error("transfer-encoding is malformed")]
    BadCoding,
    /// Codings other than `chunked` alone.
    #[error("transfer-encoding is not chunked alone")]
    UnknownCoding,
    /// More than one `Transfer-Encoding`.
    #[error("request has several transfer-encoding fields")]
    SeveralCodings,
    /// HTTP/1.0 does not know `Transfer-Encoding`.
    #[error("http/1.0 request has a transfer-encoding")]
    CodingBefore11,
    /// `CONNECT` with a body; what follows its head is a tunnel or the next request.
    #[error("connect request has a body")]
    ConnectBody,
    /// Bytes behind a `CONNECT` that became no tunnel: they may be a stranger's, not the client's.
    #[error("bytes were sent behind a connect request before it was answered")]
    EarlyBytes,
    /// Not one to sixteen hexadecimal digits below 2^63, with an extension or the line end behind.
    #[error("chunk size is not a plain hexadecimal number below 2^63")]
    BadChunkSize,
    /// The extension of a chunk is longer than any use of one.
    #[error("chunk size line is too long")]
    ChunkLineTooLong,
    /// The data of a chunk is not followed by CR LF.
    #[error("chunk data does not end in carriage return and line feed")]
    BadChunkEnd,
    /// A trailer that would change framing or routing, had it come in the head.
    #[error("trailer field belongs into the head")]
    ForbiddenTrailer,
}

impl Violation {
    /// The status code to answer with.
    pub const fn status(self) -> u16 {
        match self {
            Self::RequestLineTooLong => 414,
            Self::FieldsTooLong | Self::TooManyFields => 431,
            Self::UnknownCoding => 501,
            Self::Version => 505,
            _ => 400,
        }
    }
}
