//! A lock-free health registry: which network addresses are worth dialling.
