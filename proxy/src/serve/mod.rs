//! One client connection, as every engine serves it: its place and its deadlines, its HTTP, what is
//! told when it is over.

pub mod answer;
pub mod body;
pub mod context;
pub mod file;
pub mod first;
pub(crate) mod forwards;
pub mod headers;
pub mod http1;
pub mod io;
pub mod outgoing;
pub mod parts;
pub mod session;
pub mod tunnel;
