//! Settings: flags and environment variables of the same names, checked in one place. A bad one stops the start with one
//! line that names it and its rule, and never shows a secret.

mod made;

use crate::{Token, address::Block, claims::RESERVED, fetch};
use clap::{Args, ValueEnum};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Who may come in, what they may see, how much they may take.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs)] // the help texts are the documentation
pub struct GuardSettings {
    /// Whether clients authenticate. Without it nobody does, on loopback only.
    #[arg(long, env = "WEFT_AUTH", value_enum)]
    pub auth: Option<Auth>,
    /// Lets `WEFT_AUTH=off` listen on other addresses than loopback.
    #[arg(long, env = "WEFT_ALLOW_ANONYMOUS_REMOTE", default_value_t = false, action = clap::ArgAction::Set)]
    pub allow_anonymous_remote: bool,
    /// Origins that browsers may connect from, comma separated, compared exactly.
    #[arg(long, env = "WEFT_ORIGINS", value_delimiter = ',')]
    pub origins: Vec<String>,

    /// Shared secret of HS256 tokens, at least 32 bytes; better in a file.
    #[arg(long, env = "WEFT_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Token>,
    /// File of shared secrets of HS256 tokens, one a line; read again when it changes.
    #[arg(long, env = "WEFT_JWT_SECRET_FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// File of public keys in PEM (RSA, P-256, Ed25519); read again when it changes.
    #[arg(long, env = "WEFT_JWT_PUBLIC_KEY_FILE")]
    pub jwt_public_key_file: Option<PathBuf>,
    /// URL of the key set (JWKS) of whoever issues tokens.
    #[arg(long, env = "WEFT_JWKS_URL", hide_env_values = true)]
    pub jwks_url: Option<String>,
    /// Seconds that keys of the key set serve while it cannot be fetched.
    #[arg(long, env = "WEFT_JWKS_STALE_SECS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(60..=604_800))]
    pub jwks_stale_secs: u32,
    /// Issuers, comma separated: `iss` must be one of them.
    #[arg(long, env = "WEFT_JWT_ISSUER", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,
    /// Audiences, comma separated: `aud` must hold one of them.
    #[arg(long, env = "WEFT_JWT_AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,
    /// The claim that holds the user.
    #[arg(long, env = "WEFT_JWT_USER_CLAIM", default_value = "sub")]
    pub jwt_user_claim: String,
    /// Seconds by which the clock of whoever issues tokens may be ahead.
    #[arg(long, env = "WEFT_JWT_LEEWAY_SECS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=30))]
    pub jwt_leeway_secs: u32,
    /// Longest life of a token in seconds, and how long revocations are kept. Where the bus stores nothing, no bound.
    #[arg(long, env = "WEFT_JWT_LIFE_SECS_MAX", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(60..=2_592_000))]
    pub jwt_life_secs_max: u32,
    /// Whether every token must name a tenant.
    #[arg(long, env = "WEFT_TENANT_REQUIRED", default_value_t = false, action = clap::ArgAction::Set)]
    pub tenant_required: bool,

    /// Whether upgrades, event streams and Socket.IO may bring a token in the query.
    #[arg(long, env = "WEFT_AUTH_QUERY", value_enum, default_value_t = Switch::On)]
    pub auth_query: Switch,
    /// The cookie that may hold a token; needs `WEFT_ORIGINS`.
    #[arg(long, env = "WEFT_AUTH_COOKIE")]
    pub auth_cookie: Option<String>,
    /// Seconds that a client may take to authenticate.
    #[arg(long, env = "WEFT_AUTH_SECS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub auth_secs: u32,
    /// Largest message in bytes of a client that has not authenticated.
    #[arg(long, env = "WEFT_AUTH_BYTES_MAX", default_value_t = 16 * 1024, value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    pub auth_bytes_max: u32,
    /// Lets `WEFT_JWKS_URL` and `WEFT_AUTHORIZE_URL` be http to other machines: whoever is between may then let anybody in.
    #[arg(long, env = "WEFT_AUTH_PLAIN_HTTP", default_value_t = false, action = clap::ArgAction::Set)]
    pub auth_plain_http: bool,
    /// Rooms that clients without a token may follow, comma separated, `execution:demo-*`.
    #[arg(long, env = "WEFT_ANONYMOUS_ROOMS", value_delimiter = ',')]
    pub anonymous_rooms: Vec<String>,
    /// Seconds after which a subscription is refused whose room is not known to be the client's.
    #[arg(long, env = "WEFT_PENDING_TIMEOUT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub pending_timeout: u32,
    /// URL that is asked on every subscribe.
    #[arg(long, env = "WEFT_AUTHORIZE_URL", hide_env_values = true)]
    pub authorize_url: Option<String>,
    /// Milliseconds that its answer may take.
    #[arg(long, env = "WEFT_AUTHORIZE_TIMEOUT_MS", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub authorize_timeout_ms: u32,
    /// Seconds that its answer is remembered; 0 asks every time.
    #[arg(long, env = "WEFT_AUTHORIZE_CACHE_SECS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(..=3600))]
    pub authorize_cache_secs: u32,
    /// Seconds between two readings of the revocations.
    #[arg(long, env = "WEFT_REVOCATION_CHECK_SECS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub revocation_check_secs: u32,
    /// Seconds after which nobody new is let in while revocations cannot be read.
    #[arg(long, env = "WEFT_REVOCATION_STALE_SECS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=3600))]
    pub revocation_stale_secs: u32,

    /// Address of the control listener, /admin/*; without it there is none.
    #[arg(long, env = "WEFT_CONTROL_LISTEN")]
    pub control_listen: Option<SocketAddr>,
    /// File with the token of the control listener.
    #[arg(long, env = "WEFT_CONTROL_TOKEN_FILE")]
    pub control_token_file: Option<PathBuf>,

    /// Proxies whose X-Forwarded-For is believed, comma separated, `10.0.0.0/8`.
    #[arg(long, env = "WEFT_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Block>,
    /// Connections of one address, or of one /64, and twice as many sockets on which it sends requests, 64 at least; 0 is no
    /// bound. Those of this machine are not counted, nor the sockets of trusted proxies.
    #[arg(long, env = "WEFT_CONNECTIONS_PER_ADDRESS_MAX", default_value_t = 200)]
    pub connections_per_address_max: u32,
    /// Connections of one user; 0 is no bound.
    #[arg(long, env = "WEFT_CONNECTIONS_PER_USER_MAX", default_value_t = 50)]
    pub connections_per_user_max: u32,
    /// Connections that one address may open a second, five times as many at once; 0 is no bound.
    #[arg(long, env = "WEFT_CONNECTS_PER_ADDRESS", default_value_t = 50)]
    pub connects_per_address: u32,
    /// Messages that a connection may send a second, four times as many at once; 0 is no bound.
    #[arg(long, env = "WEFT_MESSAGES_PER_CONNECTION", default_value_t = 50)]
    pub messages_per_connection: u32,
    /// Events that one user may publish a second over HTTP, twice as many at once; 0 is no bound.
    #[arg(long, env = "WEFT_PUBLISHES_PER_USER", default_value_t = 5000)]
    pub publishes_per_user: u32,
    /// Requests that read, and commands by HTTP, of one user, or of one address for who has no name, a second, five times as many at once; 0 is no
    /// bound. Those of this machine without a name are not counted.
    #[arg(long, env = "WEFT_READS_PER_USER", default_value_t = 100)]
    pub reads_per_user: u32,
    /// Pages of up to 256 stored events that the subscriptions of one user may read a second, five times as many at once;
    /// further ones wait. 0 is no bound.
    #[arg(long, env = "WEFT_PAGES_PER_USER", default_value_t = 200)]
    pub pages_per_user: u32,
}

/// Whether clients authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Whoever can connect may follow and do everything.
    Off,
    /// By tokens.
    Jwt,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Switch {
    On,
    Off,
}

/// Why the gateway does not start: one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {rule}")]
pub struct BadSetting {
    /// The setting's variable.
    pub setting: &'static str,
    /// Which rule it breaks.
    pub rule: String,
}

fn bad(setting: &'static str, rule: impl Into<String>) -> BadSetting {
    BadSetting { setting, rule: rule.into() }
}

impl GuardSettings {
    /// Checks what clap cannot, without opening anything; `listen` is where clients connect to.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn check(&self, listen: IpAddr) -> Result<(), BadSetting> {
        self.check_auth(listen)?;
        self.check_claims()?;
        self.check_places()?;
        for (setting, url) in [("WEFT_JWKS_URL", &self.jwks_url), ("WEFT_AUTHORIZE_URL", &self.authorize_url)] {
            if let Some(url) = url {
                fetch::url(url, self.auth_plain_http).map_err(|rule| bad(setting, rule))?;
            }
        }
        if self.revocation_stale_secs < self.revocation_check_secs * 3 {
            let rule = "must be three times WEFT_REVOCATION_CHECK_SECS, or they would be too old between two readings";
            return Err(bad("WEFT_REVOCATION_STALE_SECS", rule));
        }
        match (&self.control_listen, &self.control_token_file) {
            (Some(_), None) => Err(bad("WEFT_CONTROL_TOKEN_FILE", "must be set where WEFT_CONTROL_LISTEN is")),
            (None, Some(_)) => Err(bad("WEFT_CONTROL_LISTEN", "must be set where WEFT_CONTROL_TOKEN_FILE is")),
            _ => Ok(()),
        }
    }

    /// What is legal and probably not meant, for the log at the start.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let is_jwt = self.auth == Some(Auth::Jwt);
        let is_shared = self.jwks_url.is_some() || self.jwt_public_key_file.is_some();
        let all = [
            (!is_jwt, "nobody authenticates: whoever can connect may follow and do everything"),
            (
                is_jwt && is_shared && self.jwt_audience.is_empty(),
                "WEFT_JWT_AUDIENCE is not set: tokens for other services of the issuer are accepted",
            ),
            (
                is_jwt && is_shared && self.jwt_issuer.is_empty(),
                "WEFT_JWT_ISSUER is not set: whoever has one of the keys is the issuer",
            ),
            (
                self.jwt_secret.is_some(),
                "WEFT_JWT_SECRET: a secret in the environment is seen by whoever sees the process; WEFT_JWT_SECRET_FILE is not",
            ),
            (self.auth_plain_http, "WEFT_AUTH_PLAIN_HTTP: keys and decisions travel unprotected"),
        ];
        all.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning).collect()
    }

    /// Whether clients authenticate.
    #[must_use]
    pub fn is_jwt(&self) -> bool {
        self.auth == Some(Auth::Jwt)
    }

    /// Whether there are keys whose signatures are dear to look at.
    pub(crate) fn has_public_keys(&self) -> bool {
        self.jwks_url.is_some() || self.jwt_public_key_file.is_some()
    }

    fn check_auth(&self, listen: IpAddr) -> Result<(), BadSetting> {
        let has_keys = self.jwt_secret.is_some()
            || self.jwt_secret_file.is_some()
            || self.jwt_public_key_file.is_some()
            || self.jwks_url.is_some();
        match self.auth {
            Some(Auth::Jwt) if !has_keys => {
                Err(bad("WEFT_AUTH", "jwt needs WEFT_JWT_SECRET_FILE, WEFT_JWT_PUBLIC_KEY_FILE or WEFT_JWKS_URL"))
            }
            Some(Auth::Jwt) => Ok(()),
            // Somebody meant tokens to be checked.
            _ if has_keys => Err(bad("WEFT_AUTH", "must be jwt where keys are set")),
            None if !listen.is_loopback() => Err(bad("WEFT_AUTH", "must be set where WEFT_LISTEN is not loopback")),
            _ if !listen.is_loopback() && !self.allow_anonymous_remote => {
                Err(bad("WEFT_AUTH", "off listens on loopback only, unless WEFT_ALLOW_ANONYMOUS_REMOTE=true"))
            }
            _ => Ok(()),
        }
    }

    fn check_claims(&self) -> Result<(), BadSetting> {
        let claim = &self.jwt_user_claim;
        if claim.is_empty() || claim.len() > 128 || RESERVED.contains(&claim.as_str()) {
            return Err(bad("WEFT_JWT_USER_CLAIM", "must be a claim of 1 to 128 bytes that means nothing else"));
        }
        for (setting, all) in [("WEFT_JWT_ISSUER", &self.jwt_issuer), ("WEFT_JWT_AUDIENCE", &self.jwt_audience)] {
            if all.iter().any(|one| one.trim().is_empty()) {
                return Err(bad(setting, "must not be empty, nor hold anything empty: it would switch the check off"));
            }
        }
        self.anonymous().map(|_| ())
    }

    fn check_places(&self) -> Result<(), BadSetting> {
        if let Some(origin) = self.origins.iter().find(|origin| !is_origin(origin)) {
            return Err(bad("WEFT_ORIGINS", format!("{origin} is no origin, such as https://app.example")));
        }
        let Some(cookie) = &self.auth_cookie else { return Ok(()) };
        // RFC 6265, section 4.1.1: a token of RFC 7230.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if cookie.is_empty() || !cookie.bytes().all(is_name) {
            return Err(bad("WEFT_AUTH_COOKIE", "must be a cookie's name"));
        }
        if self.origins.is_empty() {
            return Err(bad("WEFT_AUTH_COOKIE", "needs WEFT_ORIGINS: any page could use the cookie of its visitors"));
        }
        Ok(())
    }
}

/// Compared exactly with what browsers send, so that anything else would never match.
fn is_origin(origin: &str) -> bool {
    origin.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && !origin.ends_with('/') && uri.path() == "/"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        guard: GuardSettings,
    }

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const LOOPBACK: &str = "127.0.0.1";

    fn checked(listen: &str, flags: &[&str]) -> Result<(), String> {
        let cli = Cli::try_parse_from(["test"].iter().chain(flags)).map_err(|error| error.to_string())?;
        cli.guard.check(listen.parse().expect(listen)).map_err(|error| error.to_string())?;
        let opened = cli.guard.key_files().map(|_| ()).and(cli.guard.control().map(|_| ())).map_err(|error| error.to_string());
        assert!(!format!("{:?}", cli.guard).contains(SECRET), "a secret is never shown");
        opened
    }

    #[test]
    fn what_works() {
        for (listen, flags) in [
            (LOOPBACK, &[][..]),
            ("::1", &["--auth", "off"]),
            ("0.0.0.0", &["--auth", "off", "--allow-anonymous-remote", "true"]),
            ("0.0.0.0", &["--auth", "jwt", "--jwt-secret", SECRET]),
            (LOOPBACK, &["--auth", "jwt", "--jwks-url", "https://idp.example/jwks", "--jwt-audience", "weft,other"]),
            (LOOPBACK, &["--auth", "jwt", "--jwks-url", "http://127.0.0.1:9/jwks"]),
            (LOOPBACK, &["--auth", "jwt", "--jwks-url", "http://idp.svc/jwks", "--auth-plain-http", "true"]),
            (LOOPBACK, &["--auth-cookie", "weft", "--origins", "https://app.example"]),
            (LOOPBACK, &["--anonymous-rooms", "execution:demo-*,kb:public", "--auth-query", "off"]),
            (LOOPBACK, &["--trusted-proxies", "10.0.0.0/8,::1"]),
        ] {
            assert_eq!(checked(listen, flags), Ok(()), "{listen} {flags:?}");
        }
    }

    #[test]
    fn bad_settings_name_themselves() {
        for (listen, flags, named) in [
            ("0.0.0.0", &[][..], "WEFT_AUTH: must be set"),
            ("0.0.0.0", &["--auth", "off"], "WEFT_AUTH: off listens on loopback only"),
            (LOOPBACK, &["--auth", "jwt"], "WEFT_AUTH: jwt needs"),
            (LOOPBACK, &["--jwt-secret", SECRET], "WEFT_AUTH: must be jwt where keys are set"),
            (LOOPBACK, &["--auth", "off", "--jwks-url", "https://x/"], "WEFT_AUTH: must be jwt"),
            (LOOPBACK, &["--auth", "yes"], "WEFT_AUTH"),
            (LOOPBACK, &["--auth", "jwt", "--jwt-secret", "short"], "WEFT_JWT_SECRET: an HS256 secret has at least 32"),
            (LOOPBACK, &["--auth", "jwt", "--jwt-secret", ""], "WEFT_JWT_SECRET"),
            (LOOPBACK, &["--auth", "jwt", "--jwt-secret-file", "/nowhere"], "WEFT_JWT_SECRET_FILE: /nowhere: "),
            (LOOPBACK, &["--auth", "jwt", "--jwt-secret-file", "/dev/null"], "WEFT_JWT_SECRET_FILE: /dev/null: it holds no"),
            (LOOPBACK, &["--auth", "jwt", "--jwt-public-key-file", "/dev/null"], "WEFT_JWT_PUBLIC_KEY_FILE: /dev/null: "),
            (
                LOOPBACK,
                &["--auth", "jwt", "--jwt-public-key-file", "/dev/zero"],
                "WEFT_JWT_PUBLIC_KEY_FILE: /dev/zero: is larger",
            ),
            (LOOPBACK, &["--auth", "jwt", "--jwks-url", "http://idp.example/"], "WEFT_JWKS_URL: must be an https URL"),
            (LOOPBACK, &["--auth", "jwt", "--jwks-url", "http://127.0.0.1.evil/"], "WEFT_JWKS_URL: must be an https URL"),
            (LOOPBACK, &["--auth", "jwt", "--jwks-url", "file:///etc/passwd"], "WEFT_JWKS_URL: must be an https URL"),
            (LOOPBACK, &["--auth", "jwt", "--jwks-url", "jwks"], "WEFT_JWKS_URL: "),
            (LOOPBACK, &["--authorize-url", "http://app.example/"], "WEFT_AUTHORIZE_URL: must be an https URL"),
            (LOOPBACK, &["--jwt-issuer", ""], "WEFT_JWT_ISSUER: must not be empty"),
            (LOOPBACK, &["--jwt-audience", "a,,b"], "WEFT_JWT_AUDIENCE: must not be empty"),
            (LOOPBACK, &["--jwt-user-claim", "exp"], "WEFT_JWT_USER_CLAIM: must be a claim"),
            (LOOPBACK, &["--jwt-leeway-secs", "31"], "WEFT_JWT_LEEWAY_SECS"),
            (LOOPBACK, &["--anonymous-rooms", "*"], "WEFT_ANONYMOUS_ROOMS: * is no room"),
            (LOOPBACK, &["--auth-cookie", "weft"], "WEFT_AUTH_COOKIE: needs WEFT_ORIGINS"),
            (LOOPBACK, &["--auth-cookie", "a b"], "WEFT_AUTH_COOKIE: must be a cookie's name"),
            (LOOPBACK, &["--origins", "*"], "WEFT_ORIGINS: * is no origin"),
            (LOOPBACK, &["--origins", "https://app.example/"], "WEFT_ORIGINS: "),
            (LOOPBACK, &["--revocation-check-secs", "30"], "WEFT_REVOCATION_STALE_SECS: must be three times"),
            (LOOPBACK, &["--control-listen", "127.0.0.1:1"], "WEFT_CONTROL_TOKEN_FILE: must be set"),
            (LOOPBACK, &["--control-token-file", "/x"], "WEFT_CONTROL_LISTEN: must be set"),
            (
                LOOPBACK,
                &["--control-listen", "127.0.0.1:1", "--control-token-file", "/nowhere"],
                "WEFT_CONTROL_TOKEN_FILE: /nowhere",
            ),
            (LOOPBACK, &["--trusted-proxies", "10.0.0.0/33"], "10.0.0.0/33"),
        ] {
            let refused = checked(listen, flags).expect_err(named);
            let flag = format!("--{}", named.split(':').next().unwrap_or_default()[5..].to_lowercase().replace('_', "-"));
            assert!(
                refused.starts_with(named)
                    || (refused.starts_with("error") && (refused.contains(&flag) || refused.contains(named))),
                "{refused}"
            );
            assert!(!refused.contains(SECRET), "{refused}");
        }
    }

    #[test]
    fn what_is_probably_not_meant_is_told() {
        let warnings =
            |flags: &[&str]| Cli::try_parse_from(["test"].iter().chain(flags)).expect("settings").guard.warnings().len();
        assert_eq!(warnings(&[]), 1);
        assert_eq!(warnings(&["--auth", "jwt", "--jwks-url", "https://x/"]), 2);
        assert_eq!(warnings(&["--auth", "jwt", "--jwks-url", "https://x/", "--jwt-audience", "a", "--jwt-issuer", "i"]), 0);
        assert_eq!(warnings(&["--auth", "jwt", "--jwt-secret", SECRET]), 1);
    }
}
