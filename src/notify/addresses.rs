//! Where an outgoing request may go: never to this machine, the link, or a cloud's metadata service,
//! unless the configuration says so for that receiver (OWASP SSRF prevention).

use super::contract::DeliveryError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of `url`'s host, each allowed. The caller connects to exactly these, so that a name
/// that changes its answer in between gains nothing.
///
/// # Errors
/// The name cannot be resolved, or an address is not allowed.
pub async fn resolve(url: &url::Url, allow_private: bool) -> Result<Vec<SocketAddr>, DeliveryError> {
    let never = |why: String| DeliveryError::Never(why);
    let host = url
        .host_str()
        .ok_or_else(|| never("the address has no host".to_owned()))?;
    let port = url
        .port_or_known_default()
        .ok_or_else(|| never("the address has no port".to_owned()))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port))
        .await
        .map_err(|error| DeliveryError::later(format!("{host} cannot be resolved: {error}")))?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err(DeliveryError::later(format!("{host} has no address")));
    }
    for address in &addresses {
        if !allow_private && !is_public(address.ip()) {
            let why = format!(
                "{host} is {}, which is not a public address; allow_private permits it",
                address.ip()
            );
            return Err(never(why));
        }
    }
    Ok(addresses)
}

/// Reachable by everybody, and nobody's own machine or network.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    !(v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_unspecified()
        || v4.is_multicast()
        || v4.is_broadcast()
        || v4.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    // 2000::/3 is what is handed out (RFC 4291); the transition ranges inside it hide IPv4 addresses.
    let [first, second, ..] = v6.segments();
    (0x2000..0x4000).contains(&first)
        && first != 0x2002
        && !(first == 0x2001 && second < 0x0200)
        && !(first == 0x2001 && second == 0x0db8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_metadata_addresses_are_not_public_in_any_spelling() {
        for no in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(no.parse().unwrap()), "{no}");
        }
        for yes in ["1.1.1.1", "2606:4700::1111"] {
            assert!(is_public(yes.parse().unwrap()), "{yes}");
        }
    }

    #[tokio::test]
    async fn a_local_receiver_needs_permission() {
        let url = url::Url::parse("http://127.0.0.1:9/x").unwrap();
        assert!(matches!(resolve(&url, false).await, Err(DeliveryError::Never(_))));
        assert_eq!(resolve(&url, true).await.unwrap().len(), 1);
    }
}
