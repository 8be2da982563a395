//! What settings come to: keys, rules, bounds, each opened where it is used.

use super::{BadSetting, GuardSettings, Switch, bad};
use crate::{
    Pattern, Rules,
    address::Proxies,
    bearer::Places,
    control::ControlToken,
    files,
    files::KeyFiles,
    hook,
    hook::Hook,
    journal::Pace,
    jwks,
    jwks::Jwks,
    keys::{BadKey, Key},
    limits::Bounds,
};
use std::{net::SocketAddr, time::Duration};

/// Sockets that an address may have at least: each browser opens six.
const SOCKETS_LEAST: u32 = 64;

impl GuardSettings {
    /// What tokens must say; where the bus stores nothing, tokens cannot be revoked and may live as long as they say.
    pub(crate) fn rules(&self, is_durable: bool) -> Rules {
        Rules {
            issuers: self.jwt_issuer.clone(),
            audiences: self.jwt_audience.clone(),
            user_claim: self.jwt_user_claim.clone(),
            needs_tenant: self.tenant_required,
            life_secs_max: is_durable.then_some(u64::from(self.jwt_life_secs_max)),
            leeway_secs: u64::from(self.jwt_leeway_secs),
        }
    }

    pub(crate) fn key_files(&self) -> Result<KeyFiles, BadSetting> {
        let secret = self.jwt_secret.as_ref().map(|secret| Key::secret(secret.expose().as_bytes()));
        let fixed = secret.transpose().map_err(|BadKey(rule)| bad("WEFT_JWT_SECRET", rule))?;
        // One after the other, so that an error names the right setting.
        let secrets = files::Places { secrets: self.jwt_secret_file.clone(), ..files::Places::default() };
        KeyFiles::open(secrets).map_err(|BadKey(rule)| bad("WEFT_JWT_SECRET_FILE", rule))?;
        let publics = self.jwt_public_key_file.clone();
        let places = files::Places { fixed: fixed.into_iter().collect(), secrets: self.jwt_secret_file.clone(), publics };
        KeyFiles::open(places).map_err(|BadKey(rule)| bad("WEFT_JWT_PUBLIC_KEY_FILE", rule))
    }

    pub(crate) fn jwks(&self) -> Result<Option<Jwks>, BadSetting> {
        let stale = Duration::from_secs(u64::from(self.jwks_stale_secs));
        // Several tries before the keys are too old.
        let every = jwks::Times::default().every.min(stale / 4);
        let times = jwks::Times { stale, every, ..jwks::Times::default() };
        let jwks = self.jwks_url.as_deref().map(|url| Jwks::new(url, self.auth_plain_http, times)).transpose();
        jwks.map_err(|BadKey(rule)| bad("WEFT_JWKS_URL", rule))
    }

    pub(crate) fn hook(&self) -> Result<Option<Hook>, BadSetting> {
        let times = hook::Times {
            timeout: Duration::from_millis(u64::from(self.authorize_timeout_ms)),
            remembered: Duration::from_secs(u64::from(self.authorize_cache_secs)),
        };
        let hook = self.authorize_url.as_deref().map(|url| Hook::new(url, self.auth_plain_http, times)).transpose();
        hook.map_err(|rule| bad("WEFT_AUTHORIZE_URL", rule))
    }

    pub(crate) fn anonymous(&self) -> Result<Vec<Pattern>, BadSetting> {
        let read = |text: &String| {
            Pattern::parse(text.trim())
                .ok_or_else(|| bad("WEFT_ANONYMOUS_ROOMS", format!("{text} is no room or pattern, such as execution:demo-*")))
        };
        self.anonymous_rooms.iter().map(read).collect()
    }

    pub(crate) fn places(&self) -> Places {
        Places { query: self.auth_query == Switch::On, cookie: self.auth_cookie.clone(), origins: self.origins.clone() }
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace {
            every: Duration::from_secs(u64::from(self.revocation_check_secs)),
            life: Duration::from_secs(u64::from(self.jwt_life_secs_max)),
        }
    }

    /// How long the bus must keep revocations: longer than any token lives.
    #[must_use]
    pub fn journal_age(&self) -> Duration {
        self.pace().life + Duration::from_secs(3600)
    }

    /// What one client may take.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            proxies: Proxies::new(self.trusted_proxies.clone()),
            per_address: self.connections_per_address_max,
            per_user: self.connections_per_user_max,
            sockets_per_address: match self.connections_per_address_max {
                0 => 0,
                connections => connections.saturating_mul(2).max(SOCKETS_LEAST),
            },
            connects: self.connects_per_address,
            messages: self.messages_per_connection,
            publishes: self.publishes_per_user,
            reads: self.reads_per_user,
            pages: self.pages_per_user,
        }
    }

    /// The control listener's address and token, if there is one.
    ///
    /// # Errors
    /// The token's file cannot be used.
    pub fn control(&self) -> Result<Option<(SocketAddr, ControlToken)>, BadSetting> {
        let Some((listen, path)) = self.control_listen.zip(self.control_token_file.as_deref()) else { return Ok(None) };
        let token = ControlToken::open(path).map_err(|BadKey(rule)| bad("WEFT_CONTROL_TOKEN_FILE", rule))?;
        Ok(Some((listen, token)))
    }
}
