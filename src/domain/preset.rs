//! What of a known server is for its callers, and what for those who run it: the table.
//!
//! The path is read so that a doubtful one is closed, since servers and proxies differ: what one of them takes for a closed
//! route, this must not take for an open one (`docs/decisions/0046-presets.md`).

use std::{fmt, iter, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{as_text::as_text, percent, request_path::is_doubtful};

/// Which server a Deployment says it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Preset {
    /// Any: nothing is closed.
    #[default]
    Raw,
    Bentoml,
    Vllm,
    /// Whatever has OpenAI's API.
    Openai,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a preset; expected raw, bentoml, vllm or openai")]
pub struct InvalidPreset(String);

/// What tells open routes from closed ones. Texts are segments in lower case, joined by slashes.
enum Rule {
    /// Routes that end with one of these segments are closed, below whatever they stand.
    Closed(&'static [&'static str]),
    /// All but these are closed. `v1/chat/*` is `v1/chat` with all below it.
    Open(&'static [&'static [&'static str]]),
}

/// Inference by OpenAI's API, with what other servers have added to it.
const INFERENCE: &[&str] = &[
    "v1/chat/*",
    "v1/completions/*",
    "v1/embeddings/*",
    "v1/models/*",
    "v1/responses/*",
    "v1/messages/*",
    "v1/audio/*",
    "v1/images/*",
    "v1/videos/*",
    "v1/moderations/*",
    "v1/realtime/*",
    "v1/rerank",
    "v1/score",
    "health",
];
/// What only vLLM has. Its `invocations` is left out: it leads to any kind of inference, around whatever looks at paths.
const OF_VLLM: &[&str] = &[
    "v2/embed",
    "v2/rerank",
    "rerank",
    "score",
    "classify",
    "pooling",
    "generative_scoring",
    "tokenize",
    "detokenize",
    "ping",
];

impl Preset {
    pub const ALL: [Self; 4] = [Self::Raw, Self::Bentoml, Self::Vllm, Self::Openai];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Bentoml => "bentoml",
            Self::Vllm => "vllm",
            Self::Openai => "openai",
        }
    }

    /// `None`: nothing is closed.
    fn rule(self) -> Option<Rule> {
        match self {
            Self::Raw => None,
            Self::Bentoml => Some(Rule::Closed(&["metrics", "docs.json"])),
            Self::Vllm => Some(Rule::Open(&[INFERENCE, OF_VLLM])),
            Self::Openai => Some(Rule::Open(&[INFERENCE])),
        }
    }

    /// Where the server says whether it is alive and ready.
    pub fn probes(self) -> &'static [&'static str] {
        match self {
            Self::Raw => &["/livez", "/readyz"],
            Self::Bentoml => &["/livez", "/readyz", "/healthz"],
            Self::Vllm => &["/health", "/ping"],
            Self::Openai => &["/health"],
        }
    }

    /// Whether `path` is closed at a server that is reached below `base`, the path of its URL. Neither has a dot segment. It
    /// allocates nothing.
    pub fn closes(self, base: &str, path: &str) -> bool {
        let Some(rule) = self.rule() else { return false };
        if is_doubtful(path) {
            return true;
        }
        let asked = || segments(path);
        let whole = || segments(base).chain(segments(path));
        match rule {
            Rule::Closed(ends) => whole().last().is_some_and(|last| ends.iter().any(|end| is(last, end))),
            Rule::Open(lists) => {
                let open = |pattern: &&str| fits(pattern, asked()) || (!base.is_empty() && fits(pattern, whole()));
                !lists.iter().copied().flatten().any(open)
            }
        }
    }
}

/// The segments that are not empty, still encoded. An encoded slash separates, as a server that decodes first has it.
fn segments(path: &str) -> impl Iterator<Item = &[u8]> {
    let mut rest = path.as_bytes();
    iter::from_fn(move || {
        while !rest.is_empty() {
            let end = percent::decoded(rest).find(|&(_, byte)| byte == b'/').map_or(rest.len(), |(at, _)| at);
            let (segment, behind) = rest.split_at(end);
            let slash = if behind.starts_with(b"%") { 3 } else { 1 };
            rest = behind.get(slash..).unwrap_or_default();
            if name(segment).next().is_some() {
                return Some(segment);
            }
        }
        None
    })
}

/// What names it, without parameters.
fn name(segment: &[u8]) -> impl Iterator<Item = u8> {
    percent::decoded(segment).map(|(_, byte)| byte.to_ascii_lowercase()).take_while(|&byte| byte != b';')
}

/// Whether it is called so. Some servers leave dots and blanks at its end out.
fn is(segment: &[u8], expected: &str) -> bool {
    let mut name = name(segment);
    expected.bytes().all(|byte| name.next() == Some(byte)) && name.all(|byte| matches!(byte, b'.' | b' '))
}

fn fits<'a>(pattern: &str, mut segments: impl Iterator<Item = &'a [u8]>) -> bool {
    for expected in pattern.split('/') {
        if expected == "*" {
            return true;
        }
        if !segments.next().is_some_and(|segment| is(segment, expected)) {
            return false;
        }
    }
    segments.next().is_none()
}

// === text ===

impl FromStr for Preset {
    type Err = InvalidPreset;

    fn from_str(text: &str) -> Result<Self, InvalidPreset> {
        let known = Self::ALL.into_iter().find(|preset| preset.as_str() == text);
        known.ok_or_else(|| InvalidPreset(text.to_owned()))
    }
}

as_text!(Preset);

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BENTOML_CLOSES: [&str; 2] = ["/metrics", "/docs.json"];
    /// What vLLM prints of its routes at its start, in development mode, with adapters, and its security guide.
    const VLLM_CLOSES: &str = "/ /metrics /version /load /docs /docs/oauth2-redirect /redoc /openapi.json /server_info /tokenizer_info \
        /invocations /adapters /inference/v1/generate /pause /resume /is_paused /abort_requests /scale_elastic_ep \
        /is_scaling_elastic_ep /init_weight_transfer_engine /start_weight_update /update_weights \
        /finish_weight_update /update_weight_version /weight_info /weight_checker /get_world_size /collective_rpc \
        /sleep /wake_up /is_sleeping /reset_prefix_cache /reset_mm_cache /reset_encoder_cache /start_profile \
        /stop_profile /v1/load_lora_adapter /v1/unload_lora_adapter /v1 /v1/files /v1/internal/model/load \
        /v2/models /chat/completions /llm/v1/chat/completions";
    const VLLM_LEAVES: &str = "/v1/chat/completions /v1/chat/completions/render /v1/completions /v1/embeddings /v1/models \
        /v1/models/meta-llama/Llama-3.1-8B /v1/models/meta-llama%2FLlama-3.1-8B /v1/responses/resp_1/cancel \
        /v1/messages/count_tokens /v1/audio/transcriptions /v1/realtime /v1/rerank /v1/score /v2/embed /score \
        /classify /tokenize /detokenize /health /ping";

    fn closes(preset: Preset, path: &str) -> bool {
        preset.closes("", path)
    }

    #[test]
    fn the_table() {
        for path in VLLM_CLOSES.split(' ') {
            assert!(closes(Preset::Vllm, path) && closes(Preset::Openai, path), "{path}");
        }
        for path in VLLM_LEAVES.split(' ') {
            assert!(!closes(Preset::Vllm, path), "{path}");
            let of_openai = path.starts_with("/v1/") || path == "/health";
            assert_eq!(closes(Preset::Openai, path), !of_openai, "{path}");
        }
        for path in BENTOML_CLOSES {
            assert!(closes(Preset::Bentoml, path), "{path}");
        }
        for path in
            ["/", "/summarize", "/schema.json", "/readyz", "/livez", "/healthz", "/task/submit", "/metrics/of-sales"]
        {
            assert!(!closes(Preset::Bentoml, path), "{path}");
        }
        for path in VLLM_CLOSES.split(' ').chain(BENTOML_CLOSES).chain(["/%25", "/%00"]) {
            assert!(!closes(Preset::Raw, path), "{path}");
        }
        for preset in Preset::ALL {
            assert!(preset.probes().iter().all(|probe| !closes(preset, probe)), "{preset}");
            assert_eq!(preset.as_str().parse(), Ok(preset));
        }
        for text in ["", "Raw", "vllm ", "tgi"] {
            assert!(text.parse::<Preset>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_way_of_writing_it_opens_a_closed_route() {
        let of_bentoml = "/metrics/ //metrics /metrics// /METRICS /%6detrics /%6D%65trics /%2Fmetrics /metrics%2f /metrics;a=b \
            /metrics%3Ba /;x/metrics /metrics;/ /metrics%0a /metrics%0D%0A /metrics%09 /metrics%7f /metrics%20 \
            /metrics. /metrics%2e /metrics%3f /metrics%23 /%256detrics /api/metrics /api%2fmetrics";
        for path in of_bentoml.split(' ') {
            assert!(closes(Preset::Bentoml, path), "{path}");
        }
        let of_vllm = "/v1/%6coad_lora_adapter /v1//load_lora_adapter /v1%2Fload_lora_adapter /V1/Load_Lora_Adapter \
            /v1;x/load_lora_adapter;y /v1/chat/completions%0a /v1/models/%252e%252e/pause /v1/models/x%3f \
            /healthz /health/x /xhealth /healt";
        for path in of_vllm.split(' ') {
            assert!(closes(Preset::Vllm, path), "{path}");
        }
    }

    #[test]
    fn the_base_path_is_part_of_the_path_or_where_the_server_is_mounted() {
        for (base, path, closed) in [
            ("/v1", "/chat/completions", false),
            ("/v1", "/load_lora_adapter", true),
            ("/v1", "/v1/models", false),
            ("/v1", "", true),
            ("/llm", "/v1/chat/completions", false),
            ("/llm", "/v1/load_lora_adapter", true),
            ("/llm", "/pause", true),
            ("/llm/v1", "/pause", true),
        ] {
            assert_eq!(Preset::Vllm.closes(base, path), closed, "{base} {path}");
        }
        for (base, path, closed) in
            [("/api", "/metrics", true), ("/metrics", "", true), ("/metrics", "/", true), ("/metrics", "/x", false)]
        {
            assert_eq!(Preset::Bentoml.closes(base, path), closed, "{base} {path}");
        }
    }

    /// The path in another spelling: each character encoded or not, in either case, with slashes doubled.
    fn respelled(path: &str) -> impl Strategy<Value = String> {
        let one = |c: char| {
            let plain =
                if c == '/' { vec!["/".to_owned(), "//".to_owned(), "/;p=1/".to_owned()] } else { vec![c.to_string()] };
            let encoded = [format!("%{:02x}", c as u32), format!("%{:02X}", c.to_ascii_uppercase() as u32)];
            proptest::sample::select([plain, encoded.to_vec()].concat())
        };
        path.chars().map(one).collect::<Vec<_>>().prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_closed_route_is_closed_in_any_spelling(
            (path, spelling) in proptest::sample::select(VLLM_CLOSES.split(' ').collect::<Vec<_>>()).prop_flat_map(|path| (Just(path), respelled(path))),
            bentoml in proptest::sample::select(BENTOML_CLOSES.to_vec()).prop_flat_map(respelled),
        ) {
            prop_assert!(closes(Preset::Vllm, &spelling), "{path} as {spelling}");
            prop_assert!(closes(Preset::Bentoml, &bentoml), "{bentoml}");
        }

        /// What is open is one of the list to whoever decodes once and splits at slashes, also if nothing else is cleaned up.
        #[test]
        fn what_is_open_begins_as_the_list_says(path in "(/|%2f)(v1|V1|health|pause|%70ause)((/|//|%2f|;)(chat|models|%6dodels|load_lora_adapter|x|%25|%0a)){0,3}") {
            if !closes(Preset::Openai, &path) {
                let decoded = String::from_utf8(percent::decode(path.as_bytes())).unwrap().to_ascii_lowercase();
                let mut parts = decoded.split('/').map(|part| part.split(';').next().unwrap()).filter(|part| !part.is_empty());
                let (first, second) = (parts.next(), parts.next());
                prop_assert!(
                    (first == Some("health") && second.is_none())
                        || (first == Some("v1") && matches!(second, Some("chat" | "models"))),
                    "{path}"
                );
            }
        }
    }
}
