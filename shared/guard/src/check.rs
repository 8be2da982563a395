//! Every single check by its name, so that a test can leave one out and see that its tables notice. In a program all of
//! them hold, and the question costs nothing.

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // each is named after what it checks
pub enum Check {
    Length,
    Algorithm,
    Header,
    KeyId,
    Signature,
    Expiry,
    NotBefore,
    IssuedAt,
    Life,
    Issuer,
    Audience,
    Subject,
    Tenant,
    Revoked,
    RoomTenant,
    RoomKind,
    Ownership,
    Acting,
    Publishing,
    TrustedHop,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Length,
        Self::Algorithm,
        Self::Header,
        Self::KeyId,
        Self::Signature,
        Self::Expiry,
        Self::NotBefore,
        Self::IssuedAt,
        Self::Life,
        Self::Issuer,
        Self::Audience,
        Self::Subject,
        Self::Tenant,
        Self::Revoked,
        Self::RoomTenant,
        Self::RoomKind,
        Self::Ownership,
        Self::Acting,
        Self::Publishing,
        Self::TrustedHop,
    ];
}

/// Whether a check holds.
#[cfg(not(any(test, feature = "mutants")))]
#[inline(always)]
pub(crate) const fn holds(_: Check) -> bool {
    true
}

#[cfg(any(test, feature = "mutants"))]
pub(crate) use switch::holds;
#[cfg(any(test, feature = "mutants"))]
pub use switch::without;

#[cfg(any(test, feature = "mutants"))]
mod switch {
    use super::Check;
    use std::sync::atomic::{AtomicU8, Ordering};

    const NONE: u8 = u8::MAX;
    /// Left out in the whole process, for tests of whole gateways.
    static LEFT_OUT: AtomicU8 = AtomicU8::new(NONE);
    std::thread_local! {
        /// Left out in this thread, so that tests beside it notice nothing.
        static LEFT_OUT_HERE: std::cell::Cell<u8> = const { std::cell::Cell::new(NONE) };
    }

    pub(crate) fn holds(check: Check) -> bool {
        let check = check as u8;
        LEFT_OUT.load(Ordering::Relaxed) != check && LEFT_OUT_HERE.get() != check
    }

    /// Leaves one check out in the whole process, or none.
    pub fn without(check: Option<Check>) {
        LEFT_OUT.store(check.map_or(NONE, |check| check as u8), Ordering::Relaxed);
    }

    /// Leaves one check out while `run` runs on this thread.
    #[cfg(test)]
    pub(crate) fn without_here<T>(check: Check, run: impl FnOnce() -> T) -> T {
        LEFT_OUT_HERE.set(check as u8);
        let answer = run();
        LEFT_OUT_HERE.set(NONE);
        answer
    }
}

#[cfg(test)]
pub(crate) use switch::without_here;
