//! Everything a client can be told: error codes and close codes, each with its sentence and whether to come back.
//!
//! The table in `docs/PROTOCOL.md` holds exactly these rows; a test reads it.

/// Whether a client that was told this should try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComeBack {
    /// Not without a change on the client's side.
    No,
    /// Yes, at once or after the hint that came with it, with the offsets it holds.
    Yes,
    /// Yes, after a pause that grows.
    Later,
    /// With a new token.
    NewToken,
}

impl ComeBack {
    /// The words in the documentation's table.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Later => "later",
            Self::NewToken => "with a new token",
        }
    }
}

/// One error code, in `error` frames and in HTTP bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The stable word that programs compare.
    pub code: &'static str,
    /// What happened, for people.
    pub sentence: &'static str,
    /// The HTTP status that goes with it where it is an answer to a request.
    pub http: u16,
    /// Whether to try again.
    pub come_back: ComeBack,
}

/// One WebSocket close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode {
    /// The number.
    pub code: u16,
    /// The reason in the close frame.
    pub sentence: &'static str,
    /// Whether to try again.
    pub come_back: ComeBack,
}

// One row makes both the constant and its place in the table, so that no code can be told that the table lacks.
macro_rules! errors {
    ($($name:ident $code:literal $http:literal $come_back:ident $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            pub const $name: ErrorCode =
                ErrorCode { code: $code, sentence: $sentence, http: $http, come_back: ComeBack::$come_back };
        )*
        /// Every error code.
        pub const ERRORS: &[ErrorCode] = &[$($name),*];
    };
}

macro_rules! closes {
    ($($name:ident $code:literal $come_back:ident $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            pub const $name: CloseCode =
                CloseCode { code: $code, sentence: $sentence, come_back: ComeBack::$come_back };
        )*
        /// Every close code.
        pub const CLOSES: &[CloseCode] = &[$($name),*];
    };
}

errors! {
    MALFORMED "malformed" 400 No "The message is not one JSON object (or MessagePack map) with a `type`.";
    UNKNOWN_TYPE "unknown_type" 400 No "The message's `type` is none that a client may send.";
    INVALID "invalid" 400 No "A field breaks a rule; `field` names it.";
    TOO_LARGE "too_large" 413 No "The message or event is larger than the limit.";
    TOO_MANY_ROOMS "too_many_rooms" 429 No "The connection follows as many rooms as it may.";
    TOO_MANY_PENDING "too_many_pending" 429 Later "Too many subscriptions of the connection wait for their execution to appear.";
    RATE_LIMITED "rate_limited" 429 Later "Too many messages or requests in a short time.";
    UNAUTHENTICATED "unauthenticated" 401 NewToken "The token is missing, wrong or expired.";
    TOKEN_EXPIRED "token_expired" 401 NewToken "The token expires within 30 seconds; send `auth` with a new one to stay connected.";
    FORBIDDEN "forbidden" 403 No "The token does not allow this, or the execution did not appear in time.";
    NOT_FOUND "not_found" 404 No "There is no such thing, or it is not the caller's.";
    CONFLICT "conflict" 409 No "It exists already, or its state does not allow this.";
    OWNER_MISMATCH "owner_mismatch" 409 No "The event's `userId` is not the recorded owner of its execution.";
    NOT_DURABLE "not_durable" 409 No "The bus of this installation stores nothing, so that there is no history to read.";
    GONE "gone" 410 No "The history at this offset is gone; read the snapshot and begin again.";
    NO_EXECUTOR "no_executor" 503 Later "Nobody runs this execution or workflow at the moment.";
    REJECTED "rejected" 409 No "The executor refused; `message` says why.";
    TIMEOUT "timeout" 504 Later "The executor gave no answer in time; whether it acted is unknown. It may be asked again: a prompt takes one answer, an execution ends once.";
    BUSY "busy" 503 Later "The executor takes no more commands at the moment.";
    UNAVAILABLE "unavailable" 503 Later "The bus is away; nothing was done.";
    DRAINING "draining" 503 Yes "This gateway is leaving; connect again after the hint.";
    OVERLOADED "overloaded" 503 Later "This gateway is full; connect again later.";
    INTERNAL "internal" 500 Later "An error on our side; the log of the gateway has it.";
}

closes! {
    PROTOCOL_ERROR 1002 No "framing error";
    UNSUPPORTED_DATA 1003 No "wrong data type";
    INVALID_PAYLOAD 1007 No "text that is not UTF-8";
    POLICY 1008 Later "policy: rate, origin or number of connections";
    MESSAGE_TOO_BIG 1009 No "message too big";
    RESTARTING 1012 Yes "draining: come back after the hint";
    TRY_AGAIN_LATER 1013 Yes "overloaded: come back after the hint";
    NO_PROTOCOL 4400 No "ten messages in a row that were no protocol";
    TOKEN_REQUIRED 4401 NewToken "unauthenticated or expired";
    NOT_ALLOWED 4403 No "forbidden";
    PING_TIMEOUT 4408 Yes "no answer to pings";
    TOO_SLOW 4409 Yes "too slow: nothing could be written for the stall limit";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_reasons_fit_a_close_frame() {
        let errors: HashSet<_> = ERRORS.iter().map(|error| error.code).collect();
        assert_eq!(errors.len(), ERRORS.len());
        let closes: HashSet<_> = CLOSES.iter().map(|close| close.code).collect();
        assert_eq!(closes.len(), CLOSES.len());
        for close in CLOSES {
            // A control frame holds 125 bytes, two of them the code (RFC 6455, section 5.5).
            assert!(close.sentence.len() <= 123, "{}", close.sentence);
        }
        for error in ERRORS {
            assert!((400..600).contains(&error.http), "{}", error.code);
            assert!(error.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", error.code);
        }
    }
}
