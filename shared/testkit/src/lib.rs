//! Test support: real brokers on free ports, clients that stall, lag and vanish, a history checker.
