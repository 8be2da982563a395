//! A server that answers what it is told to, and counts who asks: for key sets and for the authorization hook.
#![allow(dead_code)] // each suite uses a part

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What it answers.
#[derive(Clone)]
pub enum Answer {
    Body(String),
    Status(u16),
    Redirect(String),
    /// After a pause.
    Late(Duration, String),
    /// A byte now and then, for ever.
    Drip,
    /// More and more, for ever.
    Flood,
}

pub struct Provider {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
    under_way: AtomicUsize,
    most_at_once: AtomicUsize,
    pub bodies: Mutex<Vec<Bytes>>,
}

impl Provider {
    /// Starts it on a free port of this machine; it ends with the test's runtime.
    pub async fn start(answer: Answer) -> (Arc<Self>, String) {
        let provider = Arc::new(Self {
            answer: Mutex::new(answer),
            asked: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            bodies: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(provider.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/it", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (provider, url)
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("no panic") = answer;
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

async fn serve(State(provider): State<Arc<Provider>>, _headers: HeaderMap, body: Bytes) -> Response {
    provider.asked.fetch_add(1, Ordering::SeqCst);
    provider.bodies.lock().expect("no panic").push(body);
    let at_once = provider.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    provider.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    let answer = provider.answer.lock().expect("no panic").clone();
    let response = match answer {
        Answer::Body(body) => body.into_response(),
        Answer::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Answer::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
        Answer::Late(pause, body) => {
            tokio::time::sleep(pause).await;
            body.into_response()
        }
        Answer::Drip => endless(1, Duration::from_millis(20)),
        Answer::Flood => endless(64 * 1024, Duration::ZERO),
    };
    provider.under_way.fetch_sub(1, Ordering::SeqCst);
    response
}

fn endless(bytes: usize, pause: Duration) -> Response {
    let parts = futures_util::stream::repeat(()).then(move |()| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes]))
    });
    use futures_util::StreamExt as _;
    Body::from_stream(parts).into_response()
}
