//! The gateway as real processes, between real brokers and real clients.
//!
//! `WEFT_TEST_FULL=1` runs the long forms.

mod admission;
mod advisories;
mod age;
mod auth;
mod auth_life;
mod auth_matrix;
mod auth_rig;
mod clients;
mod commands;
mod dialects;
mod drain;
mod hostile;
mod http;
mod leaving;
mod measured;
mod options;
mod outages;
mod packets;
mod packets_auth;
mod peers;
mod polling;
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
mod streams;
mod support;
mod traces;
