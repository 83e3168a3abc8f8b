//! Callers of HTTP/2 that open no window for what the library has long taken of a response.

use std::{thread::sleep, time::Duration};

use crate::harness::{
    frames::{DATA, Frames, GOAWAY, HEADERS, PING, RST_STREAM, WINDOW_UPDATE},
    gateway::{Gateway, deployment},
    http::ReadEnd,
    pair::HOST,
    upstream::{Upstream, response},
};

/// SETTINGS_INITIAL_WINDOW_SIZE. At 0 the library holds a response back before it has begun; at 1 it takes all of this one.
const WINDOWS: [u8; 2] = [0, 1];
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Answers with so many bytes as the path says.
fn start(limits: &str, settings: &str) -> (Upstream, Gateway) {
    let upstream = Upstream::answering(|request| {
        let size = request.target[1..].parse().unwrap();
        response(200, &[], &vec![b'x'; size])
    });
    let config = format!("{limits}\n{}", deployment("a", upstream.address, &format!("protected = false\n{settings}")));
    let gateway = Gateway::start(&config);
    (upstream, gateway)
}

/// A caller that has opened this window, and has the head of a response.
fn mute(gateway: &Gateway, window: u8, path: &str) -> Frames {
    let mut frames = Frames::connect_with(gateway.proxy, &[0, 4, 0, 0, 0, window]);
    ask(&mut frames, 1, path);
    frames
}

fn ask(frames: &mut Frames, stream: u32, path: &str) {
    frames.get(stream, HOST, path);
    frames.find(|frame| frame.kind == HEADERS && frame.stream == stream);
}

fn open_window(frames: &mut Frames, stream: u32, size: usize) {
    frames.send(WINDOW_UPDATE, 0, stream, &u32::try_from(size).unwrap().to_be_bytes());
}

fn has_line(gateway: &Gateway, path: &str) -> bool {
    gateway.access_lines().iter().any(|line| line["path"] == path)
}

#[test]
fn the_rest_of_a_response_waits_for_its_caller() {
    let (_upstream, gateway) = start("[proxy.limits]\nkeep_alive_timeout = \"1s\"", "");
    for (window, size) in [(0, 1001), (1, 1002), (1, 60_000)] {
        let path = format!("/{size}");
        let mut frames = mute(&gateway, window, &path);
        // Longer than an idle connection lives.
        sleep(Duration::from_millis(2500));
        frames.ping().expect("the connection is not idle");
        assert!(!has_line(&gateway, &path), "it has not ended");
        open_window(&mut frames, 1, size);
        let (rest, _) = frames.rest();
        let line = gateway.access_line(&path);
        assert_eq!((&line["end"], &line["bytes_out"]), (&"complete".into(), &size.into()));
        assert!(line["total_ms"].as_f64().unwrap() > 2000.0, "{line}");
        assert!(rest.iter().any(|frame| frame.kind == GOAWAY), "only now it is idle");
    }
}

#[test]
fn a_stream_that_its_caller_resets_is_not_complete() {
    let (_upstream, gateway) = start("", "");
    for window in WINDOWS {
        let path = format!("/100{window}");
        let mut frames = mute(&gateway, window, &path);
        frames.ping().unwrap();
        frames.send(RST_STREAM, 0, 1, &CANCEL);
        assert_eq!(gateway.access_line(&path)["end"], "caller_left");
        // The connection goes on, and what has no body needs no window.
        ask(&mut frames, 3, "/0");
        assert_eq!(gateway.access_line("/0")["end"], "complete");
    }
}

#[test]
fn what_was_not_sent_when_the_connection_ended_is_not_complete() {
    let (_upstream, gateway) = start("", "");
    for window in WINDOWS {
        let [left, taken] = [1000, 2000].map(|size| format!("/{}", size + u32::from(window)));
        let mut frames = mute(&gateway, window, &left);
        ask(&mut frames, 3, &taken);
        open_window(&mut frames, 3, 2001);
        frames.await_end(3);
        drop(frames);
        assert_eq!(gateway.access_line(&left)["end"], "caller_left");
        assert_eq!(gateway.access_line(&taken)["end"], "complete");
    }
}

/// PING is no reading, and has no part in the time. What the gateway says itself is a response like any other.
#[test]
fn a_caller_that_takes_nothing_is_left_after_idle_timeout() {
    let limits = "[proxy.limits]\nkeep_alive_timeout = \"2s\"";
    let (_upstream, gateway) = start(limits, "idle_timeout = \"1s\"");
    for (window, host, path) in
        [(0, HOST, "/1000"), (1, HOST, "/1001"), (0, "nobody.test", "/held"), (1, "nobody.test", "/own")]
    {
        let mut frames = Frames::connect_with(gateway.proxy, &[0, 4, 0, 0, 0, window]);
        frames.get(1, host, path);
        let mut goaway = false;
        while !goaway && frames.try_send(PING, 0, 0, b"01234567").is_ok() {
            goaway = frames.next().expect("GOAWAY comes first").kind == GOAWAY;
            sleep(Duration::from_millis(50));
        }
        // The caller never answers the gateway's own PING.
        assert_ne!(frames.rest().1, ReadEnd::TimedOut);
        let line = gateway.access_line(path);
        assert_eq!(line["end"], "timeout", "{line}");
        assert_eq!(line["cause"], "the caller took nothing of the response (idle timeout)");
    }
}

#[test]
fn a_slow_reader_is_not_left_as_long_as_it_reads() {
    let (_upstream, gateway) = start("", "idle_timeout = \"1s\"");
    let mut frames = mute(&gateway, 1, "/4001");
    for _ in 0..4 {
        sleep(Duration::from_millis(600));
        open_window(&mut frames, 1, 1000);
        frames.find(|frame| frame.kind == DATA && frame.payload.len() == 1000);
    }
    assert_eq!(gateway.access_line("/4001")["end"], "complete");
}

#[test]
fn a_drain_has_the_rest_taken() {
    let (_upstream, mut gateway) = start("[proxy]\ndrain_timeout = \"10m\"", "");
    let mut callers = WINDOWS.map(|window| mute(&gateway, window, &format!("/100{window}")));
    gateway.signal("TERM");
    for frames in &mut callers {
        frames.find(|frame| frame.kind == GOAWAY);
    }
    // Longer than a caller gets that has nothing to read.
    sleep(Duration::from_millis(3000));
    for frames in &mut callers {
        open_window(frames, 1, 1000);
        frames.await_end(1);
    }
    assert_eq!(gateway.wait().code(), Some(0));
    for path in ["/1000", "/1001"] {
        assert_eq!(gateway.access_line(path)["end"], "complete");
    }
}
