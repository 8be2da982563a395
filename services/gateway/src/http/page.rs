//! The page at `/`: three files, compiled in.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/`
pub async fn index() -> Response {
    file("text/html; charset=utf-8", include_str!("../../page/index.html"))
}

/// `/page.js`
pub async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../../page/page.js"))
}

/// `/page.css`
pub async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("../../page/page.css"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let fixed = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    let headers = [
        fixed(header::CONTENT_TYPE, kind),
        fixed(header::CACHE_CONTROL, "no-cache"),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}
