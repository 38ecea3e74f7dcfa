//! The stylesheet, the script and the mark, built into the binary.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use tower_http::compression::CompressionLayer;

struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    tag: String,
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let file = |name, kind, bytes: &'static [u8]| File {
        name,
        kind,
        bytes,
        tag: format!("\"{}\"", &hex::encode(Sha256::digest(bytes))[..32]),
    };
    vec![
        file(
            "breakglass.css",
            "text/css; charset=utf-8",
            include_bytes!("../../static/breakglass.css"),
        ),
        file(
            "breakglass.js",
            "text/javascript; charset=utf-8",
            include_bytes!("../../static/breakglass.js"),
        ),
        file(
            "breakglass.svg",
            "image/svg+xml",
            include_bytes!("../../static/breakglass.svg"),
        ),
    ]
});

/// The files. Compressed, unlike pages: a page holds its reader's form token beside text that
/// others typed, and its compressed length would tell about the token (BREACH).
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/static/{name}", get(serve))
        .layer(CompressionLayer::new().gzip(true))
}

async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Asked again each time and usually answered with 304: a new version is never mixed with an old page.
    let kept = [
        (header::ETAG, file.tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == file.tag);
    if known {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(header::CONTENT_TYPE, file.kind)], file.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    async fn get(name: &str, tag: Option<&str>) -> Response {
        let mut request = Request::get(format!("/static/{name}"));
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        routes::<()>()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_file_is_sent_once_and_then_known() {
        let first = get("breakglass.css", None).await;
        assert_eq!(first.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert!(!to_bytes(first.into_body(), usize::MAX).await.unwrap().is_empty());
        assert_eq!(
            get("breakglass.css", Some(&tag)).await.status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(
            get("breakglass.css", Some("\"other\"")).await.status(),
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn nothing_but_the_files_is_there() {
        for name in ["breakglass", "..%2fCargo.toml", "breakglass.css%00"] {
            assert_eq!(get(name, None).await.status(), StatusCode::NOT_FOUND, "{name}");
        }
    }
}
