//! What a browser gets at `/`: the console, where it was built into the program, else a small page of three files.
//! The small page is always at `/page`.

use super::answer::no_such_route;
use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::io::Read;

/// Nothing but what this gateway serves itself, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the console.
struct File {
    path: &'static str,
    kind: &'static str,
    /// By gzip.
    packed: &'static [u8],
}

/// The console; empty where it was not built.
static CONSOLE: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// Names of assets change with their content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// `/`
pub async fn index(headers: HeaderMap) -> Response {
    match find("index.html") {
        Some(file) => console(file, ASK_AGAIN, &headers),
        None => small().await,
    }
}

/// `/assets/{file}`: what the console is made of.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match find(&format!("assets/{name}")) {
        Some(file) => console(file, FOR_EVER, &headers),
        None => no_such_route().await.into_response(),
    }
}

/// `/page`
pub async fn small() -> Response {
    small_file("text/html; charset=utf-8", include_str!("../../page/index.html"))
}

/// `/page.js`
pub async fn script() -> Response {
    small_file("text/javascript; charset=utf-8", include_str!("../../page/page.js"))
}

/// `/page.css`
pub async fn style() -> Response {
    small_file("text/css; charset=utf-8", include_str!("../../page/page.css"))
}

/// Whether the console was built into this program.
pub fn has_console() -> bool {
    !CONSOLE.is_empty()
}

fn find(path: &str) -> Option<&'static File> {
    CONSOLE.iter().find(|file| file.path == path)
}

fn console(file: &'static File, caching: &'static str, headers: &HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    if accepts_gzip(accepted) {
        let encoded = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (about(file.kind, caching), [encoded, vary()], file.packed).into_response();
    }
    let mut plain = Vec::new();
    match flate2::read::GzDecoder::new(file.packed).read_to_end(&mut plain) {
        Ok(_) => (about(file.kind, caching), [vary()], plain).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `Accept-Encoding` of RFC 9110, section 12.5.3, as far as gzip is concerned.
fn accepts_gzip<'h>(lines: impl Iterator<Item = &'h str>) -> bool {
    let mut codings = lines.flat_map(|line| line.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

fn small_file(kind: &'static str, text: &'static str) -> Response {
    (about(kind, ASK_AGAIN), text).into_response()
}

fn vary() -> (HeaderName, HeaderValue) {
    (header::VARY, HeaderValue::from_static("Accept-Encoding"))
}

fn about(kind: &'static str, caching: &'static str) -> [(HeaderName, HeaderValue); 4] {
    let fixed = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    [
        fixed(header::CONTENT_TYPE, kind),
        fixed(header::CACHE_CONTROL, caching),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::CONTENT_SECURITY_POLICY, POLICY),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (lines, taken) in [
            (&["gzip, deflate, br"][..], true),
            (&["br;q=1.0, gzip;q=0.8"], true),
            (&["br", "GZIP"], true),
            (&["gzip;q=0"], false),
            (&["br"], false),
            (&[], false),
        ] {
            assert_eq!(accepts_gzip(lines.iter().copied()), taken, "{lines:?}");
        }
    }

    /// Every name that the console's page loads is there, and each file unpacks.
    #[test]
    fn the_console_is_whole() {
        let Some(index) = find("index.html") else { return };
        let text = |file: &File| {
            let mut plain = String::new();
            flate2::read::GzDecoder::new(file.packed).read_to_string(&mut plain).expect(file.path);
            plain
        };
        let page = text(index);
        let loaded: Vec<_> = page.split("\"./").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(loaded.len() >= 2, "{page}");
        for path in loaded {
            assert!(find(path).is_some(), "{path}");
        }
        assert!(CONSOLE.iter().all(|file| !text(file).is_empty()));
    }
}
