//! Event streams behind a real proxy that knows nothing of them: nginx with its defaults, buffering included, in front of two
//! gateways in turn. Where nginx is not installed, a proxy made with Node.js's own HTTP stands in, and says so.

use crate::{
    clients::Clients,
    streams::{PATH, Stream},
    support::{Broker, SHARED, get, publish_numbers, until},
};
use serde_json::json;
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use weft_testkit::process::Process;

/// Its directory goes with it.
struct Nginx {
    process: Child,
    directory: PathBuf,
}

impl Nginx {
    /// `None` where it is not installed.
    fn start(port: u16, gateways: &[Process]) -> Option<Self> {
        let program =
            ["nginx", "/usr/sbin/nginx"].into_iter().find(|program| Command::new(program).arg("-v").output().is_ok())?;
        let directory = std::env::temp_dir().join(format!("weft-nginx-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::write(directory.join("nginx.conf"), conf(port, gateways, &directory)).expect("a configuration");
        let process = Command::new(program)
            .args(["-p", directory.to_str().expect("a path"), "-c", "nginx.conf", "-e", "error.log"])
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx");
        Some(Self { process, directory })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It is one process, so that nothing stays behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn conf(port: u16, gateways: &[Process], directory: &Path) -> String {
    let servers: String =
        gateways.iter().map(|gateway| format!("server {} max_fails=1 fail_timeout=5s;", gateway.address())).collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {};", directory.join(of).display()))
        .concat();
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log crit;
         events {{ worker_connections 256; }}
         http {{
             access_log off; {temporary}
             upstream gateways {{ {servers} }}
             server {{
                 listen 127.0.0.1:{port};
                 location / {{ proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }}
             }}
         }}"
    )
}

/// What stands before the gateways, by turns: its address, and what keeps it there.
async fn proxy(gateways: &[Process]) -> (String, Option<Nginx>, Option<Clients>) {
    // Taken again by nginx a moment later.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let address = format!("http://127.0.0.1:{port}");
    if let Some(nginx) = Nginx::start(port, gateways) {
        let health = format!("{address}/api/ws/health");
        until("nginx answers", async || weft_testkit::http::get_text(&health).await.is_ok()).await;
        return (address, Some(nginx), None);
    }
    eprintln!("nginx is not installed (apt-get install nginx-light): a proxy of Node.js stands in");
    let mut clients = Clients::start();
    let urls: Vec<String> = gateways.iter().map(Process::url).collect();
    clients.tell(json!({"op": "proxy", "id": "proxy", "urls": urls})).await;
    let address = format!("http://127.0.0.1:{}", clients.next("proxy").await["port"]);
    (address, None, Some(clients))
}

async fn connections(gateway: &Process) -> u64 {
    get(gateway, "/api/ws/health").await.1["connections"].as_u64().expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_through_a_proxy_goes_on_after_the_last_event_at_whichever_gateway_is_next() {
    for kind in SHARED {
        let broker = Broker::start(kind).await;
        let mut gateways = vec![broker.gateway(&[]).await, broker.gateway(&[]).await];
        let (url, _nginx, _node) = proxy(&gateways).await;
        let mut last: Option<String> = None;
        let mut at_each = [0, 0];
        for round in 0..6_u64 {
            let mut stream = Stream::open_at(&url, &format!("{PATH}?offset=0"), last.as_deref()).await;
            let first = round * 20 + 1;
            // What was published while it was away, then events that come one by one: none waits for the next to be passed on.
            if round > 0 {
                last = Some(stream.numbers(first - 10..=first - 1).await);
            }
            for n in first..first + 10 {
                publish_numbers(&gateways[0], "e", n..=n).await;
                last = Some(stream.numbers(n..=n).await);
            }
            for (gateway, count) in gateways.iter().zip(&mut at_each) {
                *count += connections(gateway).await;
            }
            drop(stream);
            publish_numbers(&gateways[1], "e", first + 10..=first + 19).await;
            until("the proxy has hung up", async || connections(&gateways[0]).await + connections(&gateways[1]).await == 0).await;
        }
        assert!(at_each.iter().all(|count| *count > 0), "{kind:?}: both had it: {at_each:?}");

        // The gateway that has the stream dies: the stream ends for the client, which comes again.
        let mut stream = Stream::open_at(&url, PATH, last.as_deref()).await;
        last = Some(stream.numbers(111..=120).await);
        let holder = if connections(&gateways[0]).await > 0 { 0 } else { 1 };
        gateways[holder].kill();
        assert!(stream.ends().await, "{kind:?}: it has ended");
        publish_numbers(&gateways[1 - holder], "e", 121..=130).await;
        let mut stream = Stream::open_at(&url, PATH, last.as_deref()).await;
        stream.numbers(121..=130).await;
    }
}
