//! A full proxy on the risefall health registry.
