//! A broker's address, read from the bus URL the same way for NATS and Redis.

use crate::ConnectError;

/// `<scheme>://[user[:password]@]host[:port][,host[:port]…][/path][?key=value&…]`, percent-encoding undone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) scheme: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) hosts: Vec<(String, u16)>,
    /// Without the leading slash; `None` where empty.
    pub(crate) path: Option<String>,
    pub(crate) query: Vec<(String, String)>,
}

impl Endpoint {
    pub(crate) fn parse(url: &str, default_port: u16) -> Result<Self, ConnectError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refusal("needs an address, as in redis://127.0.0.1:6379"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold '@' where it was not encoded; a host cannot.
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let (user, password) = match credentials.map(|text| text.split_once(':').map_or((text, None), |(u, p)| (u, Some(p)))) {
            None => (None, None),
            Some((user, password)) => (decoded(user)?, password.map(decoded).transpose()?.flatten()),
        };
        let hosts = hosts.split(',').map(|host| host_and_port(host, default_port)).collect::<Result<_, _>>()?;
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((key.to_owned(), decoded(value)?.unwrap_or_default()))
            })
            .collect::<Result<_, ConnectError>>()?;
        Ok(Self { scheme: scheme.to_owned(), user, password, hosts, path: decoded(path.trim_end_matches('/'))?, query })
    }

    /// The value of a query parameter.
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Refuses query parameters that the driver does not know: a misspelt one would be ignored in silence.
    pub(crate) fn allow_parameters(&self, known: &[&str]) -> Result<(), ConnectError> {
        match self.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(refusal(&format!("has an unknown parameter {name:?}"))),
            None => Ok(()),
        }
    }
}

fn refusal(rule: &str) -> ConnectError {
    ConnectError::new(format!("the bus URL {rule}"))
}

fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), ConnectError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| refusal("has an IPv6 address without ']'"))?;
            (host, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(refusal("has an empty host"));
    }
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| refusal(&format!("has a port that is no number: {port:?}")))?,
    };
    Ok((host.to_owned(), port))
}

/// Undoes percent-encoding; `None` for an empty text.
fn decoded(text: &str) -> Result<Option<String>, ConnectError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.ok_or_else(|| refusal("has a '%' that begins no escape; write it as %25"))?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| refusal("is not UTF-8 once decoded"))?;
    Ok((!text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url() {
        let parsed =
            Endpoint::parse("redis-sentinel://u:p%40ss@a:1,[::1]:2,c/mymaster/3?sentinel_user=s", 26379).expect("parses");
        assert_eq!((parsed.user.as_deref(), parsed.password.as_deref()), (Some("u"), Some("p@ss")));
        assert_eq!(parsed.hosts, [("a".to_owned(), 1), ("::1".to_owned(), 2), ("c".to_owned(), 26379)]);
        assert_eq!(parsed.path.as_deref(), Some("mymaster/3"));
        assert_eq!(parsed.parameter("sentinel_user"), Some("s"));
        assert!(parsed.allow_parameters(&[]).is_err());
        let bare = Endpoint::parse("redis://:secret@h/", 6379).expect("parses");
        assert_eq!((bare.user, bare.password.as_deref(), bare.path), (None, Some("secret"), None));
    }

    #[test]
    fn unusable_urls_say_why() {
        for url in ["redis:", "redis://", "redis://a:x", "redis://[::1", "redis://u%zz@a", "redis://a,,b"] {
            assert!(Endpoint::parse(url, 1).is_err(), "{url}");
        }
    }
}
