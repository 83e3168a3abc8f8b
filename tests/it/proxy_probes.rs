//! Standing probes: an upstream that says that it is not ready is tried after the others, and gets its share back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::harness::{
    SOON,
    authority::Authority,
    gateway::{Gateway, Setup},
    http::get,
    metrics::{Scrape, scrape, scrape_until},
    pair::HOST,
    tls_front::{Setting, TlsFront},
    upstream::{Request, Upstream, response},
    wait_until,
};

/// A service that is ready when it is told to be, and answers requests at any rate.
struct Service {
    upstream: Upstream,
    ready: Arc<AtomicBool>,
}

impl Service {
    fn start(path: &'static str, ready: bool) -> Self {
        let ready = Arc::new(AtomicBool::new(ready));
        let told = Arc::clone(&ready);
        let upstream = Upstream::answering(move |request| {
            let status = if request.target != path || told.load(Relaxed) { 200 } else { 503 };
            response(status, &[], b"a")
        });
        Self { upstream, ready }
    }

    /// Without probes.
    fn requests(&self) -> usize {
        self.upstream.requests().iter().filter(|request| request.target == "/").count()
    }

    fn probes(&self, path: &str) -> Vec<Request> {
        self.upstream.requests().into_iter().filter(|request| request.target == path).collect()
    }

    fn label(&self) -> String {
        format!("upstream=\"http://{}\"", self.upstream.address)
    }
}

fn config(services: &[&Service], settings: &str) -> String {
    let urls: Vec<String> = services.iter().map(|service| format!("\"http://{}\"", service.upstream.address)).collect();
    format!("[deployments.a]\nupstreams = [{}]\nhosts = [\"{HOST}\"]\n{settings}\n", urls.join(", "))
}

fn ready(scrape: &Scrape, service: &Service) -> f64 {
    scrape.sum("bento_gateway_upstream_ready", &[&service.label()])
}

const OFTEN: &str = "probe_interval = \"100ms\"\nslow_start = \"0s\"";

#[test]
fn who_is_not_ready_gets_no_request_until_it_is() {
    let [one, other] = [false, true].map(|ready| Service::start("/readyz", ready));
    let gateway = Gateway::start(&config(&[&one, &other], OFTEN));
    let token = gateway.token(&["deployment:a"]).text;
    let ask = |count: usize| (0..count).for_each(|_| assert_eq!(gateway.ask(&get(HOST, "/", &token)).status, 200));
    // The first answer is believed at once.
    scrape_until(&gateway, "that one is not ready", |scrape| {
        (ready(scrape, &one), ready(scrape, &other)) == (0.0, 1.0)
    });
    ask(10);
    assert_eq!((one.requests(), other.requests()), (0, 10));
    let said = |text: &str| gateway.stderr().iter().filter(|line| line.contains(text)).count();
    gateway.await_said(&["an upstream is not ready", "it answered 503"]);
    assert_eq!(said("an upstream is not ready"), 1);

    one.ready.store(true, Relaxed);
    scrape_until(&gateway, "that it is ready again", |scrape| ready(scrape, &one) == 1.0);
    ask(10);
    // In turn, but for a request whose load is not yet over when the next one comes.
    assert!((4..=6).contains(&one.requests()), "{}", one.requests());
    gateway.await_said(&["an upstream is ready again"]);
    assert_eq!(said("an upstream is ready again"), 1);

    // Where nobody is ready, everybody is tried: the service knows best what it can do.
    for service in [&one, &other] {
        service.ready.store(false, Relaxed);
    }
    scrape_until(&gateway, "that none is ready", |scrape| ready(scrape, &one) + ready(scrape, &other) == 0.0);
    ask(4);
    assert_eq!(one.requests() + other.requests(), 24);
}

/// A service that has hung up is found by its probes, without a request that has to wait for it, and so is its return.
#[test]
fn what_hangs_or_is_down_is_not_ready() {
    let hanging = Upstream::start(|peer| {
        peer.await_close();
    });
    let alive = Service::start("/readyz", true);
    let settings = format!("{OFTEN}\nprobe_timeout = \"200ms\"\nfirst_byte_timeout = \"30s\"");
    let urls = config(&[&alive], &settings)
        .replace("upstreams = [", &format!("upstreams = [\"http://{}\", ", hanging.address));
    let gateway = Gateway::start(&urls);
    let token = gateway.token(&["deployment:a"]).text;
    let label = format!("upstream=\"http://{}\"", hanging.address);
    gateway.await_said(&["is not ready", "did not answer within"]);
    assert_eq!(scrape(&gateway).sum("bento_gateway_upstream_ready", &[&label]), 0.0);
    for _ in 0..6 {
        assert_eq!(gateway.ask(&get(HOST, "/", &token)).text(), "a");
    }
}

#[test]
fn what_is_asked_for_is_what_the_settings_say_and_shows_the_credential() {
    let service = Service::start("/health", false);
    let file = format!("{OFTEN}\nprobe_path = \"/health\"\nprobe_rise = 3\nupstream_credential_file = \"key\"");
    let setup = Setup::new(&config(&[&service], &file));
    std::fs::write(setup.directory().join("key"), "sk-1").unwrap();
    let gateway = setup.start();
    wait_until("it is asked again and again", SOON, || service.probes("/health").len() >= 3);
    let probe = service.probes("/health").swap_remove(0);
    assert_eq!((probe.method.as_str(), probe.header("authorization")), ("GET", Some("Bearer sk-1")));
    assert_eq!(probe.header("connection"), Some("close"));
    assert_eq!(probe.header("host"), Some(service.upstream.address.to_string().as_str()));

    // Without a restart.
    gateway.write_config(&config(&[&service], ""));
    let mut asked = service.probes("/health").len();
    wait_until("it is left alone", SOON, || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let before = std::mem::replace(&mut asked, service.probes("/health").len());
        before == asked
    });
}

#[test]
fn an_upstream_with_tls_is_asked_by_tls() {
    let (service, authority) = (Service::start("/readyz", true), Authority::new());
    let front = TlsFront::start(service.upstream.address, &Setting::of(&authority.signs(&["bento.internal"])));
    let settings =
        format!("{OFTEN}\n[deployments.a.upstream_tls]\nca_file = \"ca.pem\"\nserver_name = \"bento.internal\"");
    let text = config(&[], &settings).replace("[]", &format!("[\"https://{}\"]", front.address));
    let setup = Setup::new(&text);
    authority.write(setup.directory(), "ca.pem");
    let gateway = setup.start();
    wait_until("it is asked", SOON, || !service.probes("/readyz").is_empty());
    assert_eq!(front.handshakes()[0].server_name.as_deref(), Some("bento.internal"));
    let label = format!("upstream=\"https://{}\"", front.address);
    scrape_until(&gateway, "that it is ready", |scrape| scrape.sum("bento_gateway_upstream_ready", &[&label]) == 1.0);
}
