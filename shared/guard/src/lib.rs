//! Who is it, what may they see, how much may they take.
//!
//! A request carries a token ([`bearer`]), which is a secret that no log can print ([`token`]). It is taken apart
//! ([`jws`]), verified with the [`keys`] in force ([`files`], [`jwks`]) and becomes an [`Identity`] ([`claims`]), unless
//! it was taken back ([`revoked`], which [`journal`] keeps up to date from the bus). An identity answers questions about
//! rooms ([`access`]); whose an execution is says the bus ([`owners`]), and an application may have its word ([`hook`]).
//! Addresses and users are counted ([`address`], [`share`], [`rate`]), operators show a token of their own ([`control`]).
//!
//! [`Guard`] is all of this put together from its [`settings`]; it knows neither sessions nor routes.

pub mod access;
pub mod address;
pub mod bearer;
pub mod caller;
pub mod check;
pub mod claims;
pub mod control;
pub mod der;
mod fetch;
pub mod files;
pub mod guard;
pub mod hook;
#[cfg(test)]
mod hostile;
pub mod journal;
pub mod jwks;
pub mod jws;
pub mod keys;
pub mod limits;
mod meters;
mod object;
pub mod owners;
pub mod pattern;
pub mod rate;
pub mod refused;
pub mod revoked;
pub mod settings;
pub mod share;
pub mod shown;
pub mod token;
pub mod verified;

pub use access::Access;
pub use caller::Caller;
pub use claims::{Identity, Rules};
pub use guard::{Guard, Verdict};
pub use limits::Limits;
pub use pattern::Pattern;
pub use refused::Refused;
pub use revoked::{Revocation, Revoked};
pub use settings::{BadSetting, GuardSettings};
pub use shown::Shown;
pub use token::Token;
