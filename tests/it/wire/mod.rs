//! Strictness as a table: what bytes a caller sends, and what of it an upstream gets. Whatever row it is, several lenient
//! readers must find in the upstream's bytes exactly the requests that were authorised, see [`judge`].

mod bench;
mod case;
mod chunks;
mod credentials;
mod fields;
mod framing;
mod http2;
mod http2_fields;
mod identity;
mod judge;
mod judge_judged;
mod pipelining;
mod reader;
mod request_line;

#[test]
fn framing_of_bodies() {
    bench::run(&framing::cases());
}

#[test]
fn chunks_and_trailers() {
    bench::run(&chunks::cases());
}

#[test]
fn request_lines() {
    bench::run(&request_line::cases());
}

#[test]
fn header_fields() {
    bench::run(&fields::cases());
}

#[test]
fn places_of_credentials() {
    bench::run(&credentials::cases());
}

#[test]
fn claims_of_identity() {
    bench::run(&identity::cases());
}

#[test]
fn claims_of_identity_in_http_2() {
    bench::run(&identity::cases_of_http2());
}

#[test]
fn requests_in_one_go() {
    bench::run(&pipelining::cases());
}

#[test]
fn requests_of_http_2() {
    bench::run(&http2::cases());
}

#[test]
fn fields_of_http_2() {
    bench::run(&http2_fields::cases());
}
