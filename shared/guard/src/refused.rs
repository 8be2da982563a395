//! Why a token was not accepted. What a client is told is one sentence for all; which it was goes to the log and the
//! metric.

/// Why a token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, and what was asked for is not public.
    #[error("there is no token")]
    Missing,
    /// Longer than [`crate::token::BYTES_MAX`], not three parts of base64url, or two tokens where one may stand.
    #[error("it is no JWT, or longer than 8 KiB")]
    Malformed,
    /// An algorithm that no key of ours has, `none` among them, or a header that asks for what we do not do.
    #[error("its algorithm or header is not accepted")]
    Algorithm,
    /// No key of that `kid`.
    #[error("no key is known for it")]
    UnknownKey,
    /// The signature does not fit.
    #[error("its signature does not fit")]
    Signature,
    /// `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` lies ahead.
    #[error("it is not valid yet")]
    NotYet,
    /// A claim is missing, there twice, of the wrong form, or another's.
    #[error("a claim is missing or wrong")]
    Claims,
    /// A renewal that would change who it is.
    #[error("it is another subject's")]
    OtherSubject,
    /// Taken back.
    #[error("it was revoked")]
    Revoked,
    /// The keys or the revocations are older than they may be: nobody can be let in at the moment.
    #[error("keys or revocations are too old to decide")]
    Stale,
}

impl Refused {
    /// Every reason, for metrics that exist from the start.
    pub const ALL: [Self; 11] = [
        Self::Missing,
        Self::Malformed,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Expired,
        Self::NotYet,
        Self::Claims,
        Self::OtherSubject,
        Self::Revoked,
        Self::Stale,
    ];

    /// The word in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Claims => "claims",
            Self::OtherSubject => "other_subject",
            Self::Revoked => "revoked",
            Self::Stale => "stale",
        }
    }

    /// Whether the same token may be accepted a little later: the client is told to come back (1013, 503), not to bring
    /// another token (4401, 401).
    #[must_use]
    pub fn is_passing(self) -> bool {
        self == Self::Stale
    }
}
