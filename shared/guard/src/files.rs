//! Keys in files and in the environment. Files are read again when they change: a mounted secret does so by itself,
//! without a signal.

use crate::keys::{BadKey, Key, KeySet};
use parking_lot::RwLock;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How often files are looked at.
const FILES_EVERY: Duration = Duration::from_secs(5);
/// Largest key file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Where keys are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Secrets given directly, which stay.
    pub fixed: Vec<Key>,
    /// A file of HS256 secrets, one a line: old and new while they are rotated.
    pub secrets: Option<PathBuf>,
    /// A file of public keys in PEM, one or several.
    pub publics: Option<PathBuf>,
}

/// The keys at these places, read again when they change.
pub struct KeyFiles {
    places: Places,
    read: RwLock<Arc<Read>>,
}

#[derive(Default)]
struct Read {
    keys: Arc<KeySet>,
    texts: [Option<Vec<u8>>; 2],
}

impl KeyFiles {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// The file that cannot be used, and why; never what is in it.
    pub fn open(places: Places) -> Result<Self, BadKey> {
        let read = RwLock::new(Arc::new(places.read()?));
        Ok(Self { places, read })
    }

    /// The keys in force.
    #[must_use]
    pub fn keys(&self) -> Arc<KeySet> {
        self.read.read().keys.clone()
    }

    /// Reads them again; whether they have changed. Files that cannot be used change nothing.
    ///
    /// # Errors
    /// As [`KeyFiles::open`].
    pub fn look_again(&self) -> Result<bool, BadKey> {
        let read = self.places.read()?;
        let has_changed = self.read.read().texts != read.texts;
        if has_changed {
            *self.read.write() = Arc::new(read);
        }
        Ok(has_changed)
    }

    /// Reads them again every few seconds, for the life of the process.
    pub async fn keep(self: &Arc<Self>) {
        let mut last_error = None;
        loop {
            tokio::time::sleep(FILES_EVERY).await;
            let files = self.clone();
            match tokio::task::spawn_blocking(move || files.look_again()).await {
                Ok(Ok(has_changed)) => {
                    if has_changed {
                        tracing::info!(keys = self.keys().len(), "the key files have changed and were read again");
                    }
                    last_error = None;
                }
                Ok(Err(error)) if last_error.as_ref() != Some(&error) => {
                    tracing::error!(%error, "the key files cannot be used; the last keys serve on");
                    last_error = Some(error);
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

impl Places {
    fn read(&self) -> Result<Read, BadKey> {
        let texts = [&self.secrets, &self.publics].map(|path| path.as_deref().map(read_file).transpose());
        let [secrets, publics] = texts;
        let texts = [secrets?, publics?];
        let mut keys = self.fixed.clone();
        if let (Some(path), Some(text)) = (&self.secrets, &texts[0]) {
            keys.extend(secrets_of(text).map_err(named(path))?);
        }
        if let (Some(path), Some(text)) = (&self.publics, &texts[1]) {
            keys.extend(publics_of(text).map_err(named(path))?);
        }
        Ok(Read { keys: Arc::new(KeySet::new(keys)), texts })
    }
}

fn named(path: &Path) -> impl Fn(BadKey) -> BadKey {
    let path = path.display().to_string();
    move |BadKey(reason)| BadKey(format!("{path}: {reason}"))
}

/// A small file's content.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, BadKey> {
    use std::io::Read as _;
    let mut content = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content));
    read.map_err(|error| BadKey(format!("{}: {error}", path.display())))?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(BadKey(format!("{}: is larger than {FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(content)
}

fn secrets_of(text: &[u8]) -> Result<Vec<Key>, BadKey> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let keys = lines.map(Key::secret).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(BadKey("it holds no secret".into())) } else { Ok(keys) }
}

/// Each PEM block of a file; a file without any is one, so that its refusal names it.
fn publics_of(text: &[u8]) -> Result<Vec<Key>, BadKey> {
    const BEGIN: &str = "-----BEGIN ";
    let text = std::str::from_utf8(text).map_err(|_| BadKey("it is not PEM".into()))?;
    let mut blocks: Vec<&str> = text.match_indices(BEGIN).map(|(at, _)| at).map(|at| &text[at..]).collect();
    for block in &mut blocks {
        let end = block[BEGIN.len()..].find(BEGIN).map_or(block.len(), |at| at + BEGIN.len());
        *block = &block[..end];
    }
    if blocks.is_empty() {
        blocks.push(text);
    }
    blocks.into_iter().map(Key::public_pem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";
    const ED25519: &str =
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    fn written(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("weft-guard-{name}-{}", std::process::id()));
        std::fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn files_are_read_again_and_bad_ones_change_nothing() {
        let secrets = written("secrets", &format!("{OLD}\n"));
        let publics = written("publics", &format!("comment\n{ED25519}\n{ED25519}"));
        let places = Places { secrets: Some(secrets.clone()), publics: Some(publics.clone()), ..Places::default() };
        let files = KeyFiles::open(places).expect("keys");
        assert_eq!((files.keys().len(), files.look_again()), (3, Ok(false)));
        written("secrets", &format!("{OLD}\r\n\n  {NEW}\n"));
        assert_eq!((files.look_again(), files.keys().len()), (Ok(true), 4), "old and new serve together");
        for bad in ["", "short\n", ED25519] {
            written("secrets", bad);
            let refused = files.look_again().expect_err(bad).to_string();
            assert!(refused.contains("weft-guard-secrets") && !refused.contains("short\n"), "{refused}");
            assert_eq!(files.keys().len(), 4, "the last keys serve on");
        }
        written("secrets", NEW);
        assert_eq!((files.look_again(), files.keys().len()), (Ok(true), 3), "the old one is gone");
        for bad in
            ["", "-----BEGIN PUBLIC KEY-----", &format!("{ED25519}-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----")]
        {
            written("publics", bad);
            assert!(files.look_again().expect_err(bad).to_string().contains("weft-guard-publics"));
        }
        std::fs::remove_file(&publics).expect("removed");
        assert!(files.look_again().is_err());
        std::fs::remove_file(&secrets).expect("removed");
        assert!(
            KeyFiles::open(Places { secrets: Some(secrets), ..Places::default() }).is_err(),
            "a missing file stops the start"
        );
    }
}
