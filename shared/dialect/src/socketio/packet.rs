//! The text of a packet: type, number of attachments, namespace, ack id, payload. What may stand where is strict.

/// Longest namespace read, in bytes: a refusal repeats it.
const NAMESPACE_BYTES_MAX: usize = 128;
/// Most digits of an ack id: those of the largest integer that a JavaScript client can count to.
const ACK_DIGITS_MAX: usize = 16;

/// The type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `0`: joins a namespace.
    Connect,
    /// `1`: leaves it.
    Disconnect,
    /// `2`
    Event,
    /// `3`
    Ack,
    /// `4`: only a server sends it.
    ConnectError,
    /// `5`: an event whose attachments follow.
    BinaryEvent,
    /// `6`: an ack whose attachments follow.
    BinaryAck,
}

/// One packet, its payload unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The type.
    pub kind: Kind,
    /// How many binary messages follow; 0 but for the binary types.
    pub attachments: usize,
    /// The namespace, `/` where none is written.
    pub namespace: &'a str,
    /// Which ack is asked for or given.
    pub id: Option<u64>,
    /// What follows, JSON if the client is honest; `None` where nothing does.
    pub payload: Option<&'a str>,
}

/// What is wrong with a packet's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Socket.IO packet: {0}")]
pub struct Malformed(pub &'static str);

impl<'a> Packet<'a> {
    /// Reads a packet whose attachments, if it has any, number at most `attachments_max`.
    pub fn parse(text: &'a str, attachments_max: usize) -> Result<Self, Malformed> {
        let kind = match text.as_bytes().first() {
            Some(b'0') => Kind::Connect,
            Some(b'1') => Kind::Disconnect,
            Some(b'2') => Kind::Event,
            Some(b'3') => Kind::Ack,
            Some(b'4') => Kind::ConnectError,
            Some(b'5') => Kind::BinaryEvent,
            Some(b'6') => Kind::BinaryAck,
            _ => return Err(Malformed("unknown type")),
        };
        let rest = &text[1..];
        let (attachments, rest) = match kind {
            Kind::BinaryEvent | Kind::BinaryAck => attachments(rest, attachments_max)?,
            _ => (0, rest),
        };
        let (namespace, rest) = namespace(rest)?;
        let (id, rest) = ack_id(rest)?;
        let payload = (!rest.is_empty()).then_some(rest);
        Ok(Self { kind, attachments, namespace, id, payload })
    }
}

/// `<n>-`, one at least: a packet that waits for nothing would wait for ever.
fn attachments(text: &str, attachments_max: usize) -> Result<(usize, &str), Malformed> {
    let (digits, rest) = text.split_once('-').ok_or(Malformed("attachments have no number"))?;
    let legal = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(count) if legal && (1..=attachments_max).contains(&count) => Ok((count, rest)),
        _ => Err(Malformed("too few or too many attachments")),
    }
}

fn namespace(text: &str) -> Result<(&str, &str), Malformed> {
    if !text.starts_with('/') {
        return Ok(("/", text));
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    if namespace.len() > NAMESPACE_BYTES_MAX {
        return Err(Malformed("the namespace is too long"));
    }
    Ok((namespace, rest))
}

fn ack_id(text: &str) -> Result<(Option<u64>, &str), Malformed> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > ACK_DIGITS_MAX {
        return Err(Malformed("the ack id is too large"));
    }
    let (id, rest) = text.split_at(digits);
    Ok((id.parse().ok(), rest))
}
