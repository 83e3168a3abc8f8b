//! Fields by which proxies tell a service who called, from where and for what. A caller could have made them up, so none
//! passes. `docs/identity-fields.md` publishes the list.

use std::{array, sync::LazyLock};

/// One kind of such fields.
struct Class {
    /// The chapter of the document.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test compares it with the document"))]
    title: &'static str,
    /// Every name that begins so.
    prefixes: &'static [&'static str],
    /// These names, where what they begin with is a common word: `X-Original-Filename` and `X-User-Agent` pass.
    names: &'static [&'static str],
}

const CLASSES: &[Class] = &[
    Class {
        title: "Where a caller comes from",
        prefixes: &["x-forwarded-"],
        names: &[
            "akamai-client-ip",
            "cf-connecting-ip",
            "cf-connecting-ipv6",
            "cf-pseudo-ipv4",
            "client-ip",
            "cloudfront-viewer-address",
            "do-connecting-ip",
            "fastly-client-ip",
            "fly-client-ip",
            "forwarded",
            "incap-client-ip",
            "proxy-client-ip",
            "true-client-ip",
            "wl-proxy-client-ip",
            "x-azure-clientip",
            "x-azure-socketip",
            "x-client-ip",
            "x-cluster-client-ip",
            "x-forwarded",
            "x-nf-client-connection-ip",
            "x-original-forwarded-for",
            "x-original-remote-addr",
            "x-originating-ip",
            "x-proxyuser-ip",
            "x-real-ip",
            "x-request-id",
            "x-source-ip",
            "x-sucuri-clientip",
            "x-vercel-forwarded-for",
            "x-vercel-proxied-for",
        ],
    },
    Class {
        title: "What was asked for",
        prefixes: &[],
        names: &[
            "x-original-host",
            "x-original-method",
            "x-original-path",
            "x-original-uri",
            "x-original-url",
            "x-rewrite-url",
        ],
    },
    Class {
        title: "Who a proxy says called",
        prefixes: &[
            "oidc-",
            "remote-",
            "x-auth-request-",
            "x-authenticated-",
            "x-remote-",
            "x-vouch-",
            "x-webauth-",
            "impersonate-",
        ],
        names: &[
            "x-access-token",
            "x-anonymous-consumer",
            "x-auth-audience",
            "x-auth-claims",
            "x-auth-client-id",
            "x-auth-email",
            "x-auth-groups",
            "x-auth-id",
            "x-auth-name",
            "x-auth-principal",
            "x-auth-role",
            "x-auth-roles",
            "x-auth-scopes",
            "x-auth-sub",
            "x-auth-subject",
            "x-auth-token",
            "x-auth-user",
            "x-auth-userid",
            "x-auth-username",
            "x-consumer-custom-id",
            "x-consumer-groups",
            "x-consumer-id",
            "x-consumer-username",
            "x-credential-identifier",
            "x-credential-username",
            "x-id-token",
            "x-jwt-assertion",
            "x-jwt-claims",
            "x-jwt-payload",
            "x-principal",
            "x-refresh-token",
            "x-user",
            "x-user-attributes",
            "x-user-claims",
            "x-user-dn",
            "x-user-email",
            "x-user-group",
            "x-user-groups",
            "x-user-id",
            "x-user-info",
            "x-user-jwt",
            "x-user-login",
            "x-user-name",
            "x-user-org",
            "x-user-organization",
            "x-user-permissions",
            "x-user-preferred-username",
            "x-user-principal",
            "x-user-role",
            "x-user-roles",
            "x-user-scope",
            "x-user-scopes",
            "x-user-sub",
            "x-user-tenant",
            "x-user-token",
            "x-user-uuid",
            "x-userid",
            "x-userinfo",
            "x-username",
        ],
    },
    Class {
        title: "Who a product says called",
        prefixes: &[
            "cf-access-",
            "iv-",
            "kubeflow-",
            "ngrok-auth-user-",
            "sf-context-",
            "shib-",
            "tailscale-",
            "teleport-",
            "x-amzn-lattice-",
            "x-amzn-mtls-",
            "x-amzn-oidc-",
            "x-appengine-",
            "x-authentik-",
            "x-exedev-",
            "x-gateway-",
            "x-goog-",
            "x-ms-client-",
            "x-ms-token-",
            "x-pomerium-",
        ],
        names: &[
            "eppn",
            "oam-remote-user",
            "rstudio-connect-credentials",
            "sm-serversessionid",
            "sm-universalid",
            "sm-user",
            "sm-userdn",
            "sm-usergroups",
            "x-amzn-lambda-context",
            "x-amzn-request-context",
            "x-apigateway-api-userinfo",
            "x-endpoint-api-userinfo",
            "x-ms-auth-token",
            "x-serverless-authorization",
        ],
    },
    Class {
        title: "Whose certificate was shown",
        prefixes: &[
            "cf-cert-",
            "cf-client-cert-",
            "cloudfront-viewer-cert-",
            "ssl-client-",
            "x-client-cert-",
            "x-ssl-client-",
            "x-tls-client-",
        ],
        names: &[
            "client-cert",
            "client-cert-chain",
            "x-arr-clientcert",
            "x-client-cert",
            "x-client-certificate",
            "x-client-dn",
            "x-client-verify",
            "x-ssl-cert",
        ],
    },
    Class {
        title: "What a mesh says",
        prefixes: &["dapr-caller-", "l5d-", "x-envoy-", "x-istio-"],
        names: &["dapr-callee-app-id", "x-spiffe-id"],
    },
    Class {
        title: "What is the gateway's or Bento's to say",
        prefixes: &["x-bento-", "x-yatai-", "yatai-"],
        names: &["bento-name", "bento-version", "runner-name"],
    },
];

/// What there is of the list for one letter.
#[derive(Default)]
struct Letter {
    prefixes: Vec<&'static str>,
    names: Vec<&'static str>,
}

/// By [`letter`], since every field of every request is looked for.
static BY_LETTER: LazyLock<[Letter; 256]> = LazyLock::new(|| {
    let mut letters = array::from_fn(|_| Letter::default());
    for class in CLASSES {
        for prefix in class.prefixes {
            letters[letter(prefix)].prefixes.push(prefix);
        }
        for name in class.names {
            letters[letter(name)].names.push(name);
        }
    }
    letters
});

/// The first one that tells names apart: after `x-`, with which half of them begin.
fn letter(name: &str) -> usize {
    name.strip_prefix("x-").unwrap_or(name).bytes().next().unwrap_or_default().into()
}

/// Whether a caller could use this field to pretend to be somebody, to come from somewhere or to be a part of Bento. `name`
/// is in lower case.
pub fn claims_identity(name: &str) -> bool {
    let Letter { prefixes, names } = &BY_LETTER[letter(name)];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || names.contains(&name)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// As people write field names.
    fn titled(name: &str) -> String {
        let part = |part: &str| part[..part.len().min(1)].to_uppercase() + part.get(1..).unwrap_or_default();
        name.split('-').map(part).collect::<Vec<_>>().join("-")
    }

    #[test]
    fn the_document_has_this_list() {
        let mut expected = String::new();
        for class in CLASSES {
            let prefixes = class.prefixes.iter().map(|prefix| format!("`{}*`", titled(prefix)));
            let names = class.names.iter().map(|name| format!("`{}`", titled(name)));
            let _ = write!(expected, "## {}\n\n", class.title);
            for field in prefixes.chain(names) {
                let _ = writeln!(expected, "- {field}");
            }
            expected.push('\n');
        }
        let document = include_str!("../../docs/identity-fields.md");
        let (_, listed) = document.split_once("## ").unwrap();
        assert_eq!(format!("## {}", listed.trim_end()), expected.trim_end(), "{expected}");
    }

    #[test]
    fn every_name_of_the_list_is_found() {
        for class in CLASSES {
            for name in class.names {
                assert!(claims_identity(name), "{name}");
            }
            for prefix in class.prefixes {
                assert!(claims_identity(&format!("{prefix}anything")), "{prefix}");
            }
        }
    }

    #[test]
    fn common_words_pass() {
        for name in ["x-original-filename", "x-consumer-group", "x-user-agent", "x-credential", "x-goose", "user-agent"]
        {
            assert!(!claims_identity(name), "{name}");
        }
        for name in ["cf-access-jwt-assertion", "x-webauth-user", "remote-groups", "x-bento-gateway-token-uid"] {
            assert!(claims_identity(name), "{name}");
        }
    }
}
