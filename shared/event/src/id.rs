//! The grammar of ids: 1 to 128 bytes of `A-Z a-z 0-9 _ - . : ~ @` (wire contract, section 2).

use crate::Invalid;

/// Longest id in bytes.
pub const ID_BYTES_MAX: usize = 128;

const fn is_id_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b':' | b'~' | b'@')
}

/// Checks one id; `field` names it in the error.
pub fn check(field: &'static str, id: &str) -> Result<(), Invalid> {
    if id.is_empty() {
        return Err(Invalid::new(field, "must not be empty"));
    }
    if id.len() > ID_BYTES_MAX {
        return Err(Invalid::new(field, "must be at most 128 bytes"));
    }
    if !id.bytes().all(is_id_byte) {
        return Err(Invalid::new(field, "may hold only A-Z a-z 0-9 _ - . : ~ @"));
    }
    Ok(())
}

/// Checks an agent id, in which `:` cannot occur because it parts the room name `agent:<agent>:<execution>`.
pub fn check_agent(field: &'static str, id: &str) -> Result<(), Invalid> {
    check(field, id)?;
    if id.contains(':') {
        return Err(Invalid::new(field, "must not contain ':'"));
    }
    Ok(())
}

/// Checks a tenant: 1 to 64 bytes of `A-Z a-z 0-9 _ -`, so that it can never end a broker name early.
pub fn check_tenant(tenant: &str) -> Result<(), Invalid> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if tenant.is_empty() || tenant.len() > 64 || !tenant.bytes().all(legal) {
        return Err(Invalid::new("tenant", "must be 1 to 64 bytes of A-Z a-z 0-9 _ -"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_ids_pass_and_others_name_their_field() {
        for id in ["a", "exec-1", "A_z.0:~@", &"x".repeat(128)] {
            assert!(check("executionId", id).is_ok(), "{id}");
        }
        for id in ["", "a b", "a\tb", "a\r\n", "a*", ">", "ü", "a/b", "{}", "[a]", "nul\0", &"x".repeat(129)] {
            let refused = check("executionId", id).expect_err(id);
            assert_eq!(refused.field, "executionId");
        }
        assert!(check_agent("agentId", "a:b").is_err());
        assert!(check_tenant("acme-1").is_ok() && check_tenant("a.b").is_err() && check_tenant("a/b").is_err());
    }
}
