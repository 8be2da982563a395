//! Every way in which a client can break the protocol or its limits, each with the code that closes the connection.

use crate::told::{self, CloseCode};

/// What a client did. Its text is fit for the reason of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// An opcode that the RFC reserves (section 5.2).
    #[error("reserved opcode")]
    ReservedOpcode,
    /// RSV2 or RSV3, or RSV1 where nothing gives it a meaning (section 5.2; RFC 7692, section 6.1).
    #[error("reserved bit")]
    ReservedBit,
    /// A frame without a mask (section 5.1).
    #[error("frame without a mask")]
    Unmasked,
    /// A length in more bytes than it needs (section 5.2).
    #[error("length in too many bytes")]
    LengthNotMinimal,
    /// A length of 2⁶³ or more (section 5.2).
    #[error("length with its highest bit set")]
    LengthOverflow,
    /// A control frame of more than 125 bytes (section 5.5).
    #[error("control frame of more than 125 bytes")]
    ControlTooLong,
    /// A control frame without FIN (section 5.5).
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A continuation where no message has begun (section 5.4).
    #[error("continuation of nothing")]
    ContinuationOfNothing,
    /// A new message before the last fragment of the one before (section 5.4).
    #[error("message within a message")]
    MessageWithinMessage,
    /// A close frame with half a code (section 5.5.1).
    #[error("close frame of one byte")]
    CloseTooShort,
    /// A close code that may not be sent (section 7.4).
    #[error("close code that may not be sent")]
    CloseCode,
    /// Text that is not UTF-8 (section 8.1).
    #[error("text that is not UTF-8")]
    TextNotUtf8,
    /// A close reason that is not UTF-8 (section 5.5.1).
    #[error("close reason that is not UTF-8")]
    CloseReasonNotUtf8,
    /// A compressed message that does not decompress (RFC 7692, section 7.2.2).
    #[error("compressed message that does not decompress")]
    Deflate,
    /// More fragments in one message than the limit, or more empty ones.
    #[error("too many fragments in one message")]
    TooManyFragments,
    /// A frame larger than the limit.
    #[error("frame too big")]
    FrameTooBig,
    /// A message larger than the limit, as sent or decompressed.
    #[error("message too big")]
    MessageTooBig,
}

impl Violation {
    /// The code to close with.
    #[must_use]
    pub const fn close(self) -> CloseCode {
        match self {
            Self::ReservedOpcode
            | Self::ReservedBit
            | Self::Unmasked
            | Self::LengthNotMinimal
            | Self::LengthOverflow
            | Self::ControlTooLong
            | Self::FragmentedControl
            | Self::ContinuationOfNothing
            | Self::MessageWithinMessage
            | Self::CloseTooShort
            | Self::CloseCode => told::PROTOCOL_ERROR,
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 | Self::Deflate => told::INVALID_PAYLOAD,
            Self::TooManyFragments => told::POLICY,
            Self::FrameTooBig | Self::MessageTooBig => told::MESSAGE_TOO_BIG,
        }
    }

    /// A stable word for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ReservedOpcode => "reserved_opcode",
            Self::ReservedBit => "reserved_bit",
            Self::Unmasked => "unmasked",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::LengthOverflow => "length_overflow",
            Self::ControlTooLong => "control_too_long",
            Self::FragmentedControl => "fragmented_control",
            Self::ContinuationOfNothing => "continuation_of_nothing",
            Self::MessageWithinMessage => "message_within_message",
            Self::CloseTooShort => "close_too_short",
            Self::CloseCode => "close_code",
            Self::TextNotUtf8 => "text_not_utf8",
            Self::CloseReasonNotUtf8 => "close_reason_not_utf8",
            Self::Deflate => "deflate",
            Self::TooManyFragments => "too_many_fragments",
            Self::FrameTooBig => "frame_too_big",
            Self::MessageTooBig => "message_too_big",
        }
    }
}
