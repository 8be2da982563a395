//! The gateway as real processes, between real brokers and real clients.
//!
//! `WEFT_TEST_FULL=1` runs the long forms.

mod addresses;
mod admission;
mod advisories;
mod age;
mod auth;
mod auth_ends;
mod auth_even;
mod auth_keys;
mod auth_life;
mod auth_logs;
mod auth_matrix;
mod auth_renewal;
mod auth_rig;
mod auth_stale;
mod auth_start;
mod auth_taken;
mod auth_watch;
mod barrage;
mod certificates;
mod clients;
mod commands;
mod crowds;
mod dialects;
mod drain;
mod hostile;
mod http;
mod illicit;
mod late;
mod leaving;
mod limits;
mod lived;
mod measured;
#[path = "../clients/npm.rs"]
mod npm;
mod options;
mod outages;
mod packets;
mod packets_auth;
mod peers;
mod polling;
#[path = "../../../../shared/guard/tests/provider/mod.rs"]
mod provider;
mod proxied;
mod python;
mod raw;
mod ready;
mod recovery;
mod resume;
mod rooms;
mod seam;
mod slow;
mod snapshots;
mod socketio;
mod sockets;
mod streams;
mod support;
mod tls;
mod traces;
mod wiretap;
