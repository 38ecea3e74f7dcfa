//! Values that are one word in the file and more than a string in the program: each says in one
//! sentence what it expects, and that sentence is what an error and the JSON Schema print.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, net::IpAddr, net::SocketAddr, str::FromStr};

/// A value written as one YAML scalar.
pub trait Scalar: FromStr<Err = String> + fmt::Display {
    /// The name of the format in the JSON Schema.
    const FORMAT: &'static str;
    /// What is expected, to stand after "expected".
    const EXPECTED: &'static str;
}

macro_rules! scalars {
    ($($name:ident = $format:literal, $expected:literal;)*) => {
        $(
            impl Scalar for $name {
                const FORMAT: &'static str = $format;
                const EXPECTED: &'static str = $expected;
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                }
            }

            impl schemars::JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    schemars::json_schema!({
                        "type": "string",
                        "format": $format,
                        "description": concat!("Expected: ", $expected, "."),
                    })
                }
            }
        )*

        /// Reads `text` as the format a schema names: `None` when the format is none of ours,
        /// otherwise what was expected and what is wrong.
        pub(super) fn check(format: &str, text: &str) -> Option<Result<(), (&'static str, String)>> {
            match format {
                $($format => Some(text.parse::<$name>().map(drop).map_err(|why| ($expected, why))),)*
                _ => None,
            }
        }
    };
}

scalars! {
    Duration = "length-of-time", "a length of time such as 90s, 30m, 1h or 3d";
    HttpUrl = "http-url", "an address that begins with https:// or http://";
    Cidr = "cidr", "an IP network such as 10.0.0.0/8 or fd00::/8";
    Listen = "listen-address", "an IP address and a port such as 127.0.0.1:8080 or [::]:8443";
    Pattern = "name-pattern", "a name of lower-case letters, digits and '-', with '*' for any part";
}

/// A length of time, whole seconds, more than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u32);

impl Duration {
    /// `seconds` as a length of time.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Whole seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// To be added to a [`crate::clock::Time`].
    #[must_use]
    pub fn delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(i64::from(self.0))
    }

    /// For time-outs and sleeps.
    #[must_use]
    pub const fn std(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0 as u64)
    }
}

const UNITS: [(&str, u32); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl FromStr for Duration {
    type Err = String;

    /// Reads `1h30m`: numbers with units, the larger unit first, each once. `0s` is allowed, since
    /// a step-up window of none means "every time".
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut rest, mut total, mut next_unit) = (text, 0u32, 0);
        if text.is_empty() {
            return Err("it is empty".into());
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let number: u32 = number
                .parse()
                .map_err(|_| format!("'{text}' has no whole number where one is needed"))?;
            let Some((at, (unit, seconds))) = UNITS
                .iter()
                .enumerate()
                .skip(next_unit)
                .find(|(_, (unit, _))| after.starts_with(unit))
            else {
                return Err(format!(
                    "'{text}' needs a unit (s, m, h or d) after {number}, larger units first"
                ));
            };
            total = number
                .checked_mul(*seconds)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(|| format!("'{text}' is longer than a century"))?;
            rest = &after[unit.len()..];
            next_unit = at + 1;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, seconds) in UNITS {
            // Up to two days, and where days do not come out even, people speak of hours.
            if unit == "d" && (rest < 2 * seconds || !rest.is_multiple_of(seconds)) {
                continue;
            }
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

/// An http or https address without credentials in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl(url::Url, String);

impl HttpUrl {
    /// The address.
    #[must_use]
    pub const fn url(&self) -> &url::Url {
        &self.0
    }

    /// Letter for letter as it was written: issuers are compared as text (OpenID Connect Discovery, 4.3).
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.1
    }

    /// Without a slash at the end, ready for a path to be added.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether what is sent there is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it names this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The parser's own words are used alone: the text may hold a password.
        let url = url::Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("it begins with {}:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name or password; give those as a secret".into());
        }
        if url.fragment().is_some() {
            return Err("it has a part after '#'".into());
        }
        Ok(Self(url, text.to_owned()))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// An IP network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr(ipnet::IpNet);

impl Cidr {
    /// Whether `ip` lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }

    /// The length of the fixed part, in bits.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<ipnet::IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(Into::into))
            .map(Self)
            .map_err(|_| format!("'{text}' is not one"))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen(SocketAddr);

impl Listen {
    /// The address and port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.0
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("'{text}' is not one"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name of a Kubernetes object in which `*` stands for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// Whether the whole of `name` fits. Takes time linear in the product of both lengths at worst.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                retry = Some((p + 1, n));
                p += 1;
            } else if pattern.get(p) == Some(&name[n]) {
                p += 1;
                n += 1;
            } else if let Some((after_star, taken)) = retry {
                retry = Some((after_star, taken + 1));
                p = after_star;
                n = taken + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }

    /// The one name it fits, when it has no `*`.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*');
        if text.is_empty() || text.len() > 63 {
            return Err("it must have 1 to 63 characters".into());
        }
        match text.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(format!("it holds {c:?}")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_read_and_written() {
        for (text, seconds, shown) in [
            ("90s", 90, "1m30s"),
            ("30m", 1800, "30m"),
            ("1h30m", 5400, "1h30m"),
            ("36h", 129_600, "36h"),
            ("3d", 259_200, "3d"),
            ("0s", 0, "0s"),
        ] {
            let read: Duration = text.parse().unwrap();
            assert_eq!(
                (read.seconds(), read.to_string().as_str()),
                (seconds, shown),
                "{text}"
            );
            assert_eq!(read.to_string().parse::<Duration>().unwrap(), read);
        }
        for bad in [
            "",
            "5",
            "h",
            "1m1h",
            "1h1h",
            "-5m",
            "5 m",
            "99999999999s",
            "9999999d",
            "1.5h",
        ] {
            assert!(bad.parse::<Duration>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_pattern_fits_whole_names_only() {
        for (pattern, name, fits) in [
            ("payments", "payments", true),
            ("payments", "payments-db", false),
            ("payments-*", "payments-db", true),
            ("payments-*", "payments", false),
            ("*", "anything", true),
            ("*-prod", "a-prod-b-prod", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ] {
            assert_eq!(
                pattern.parse::<Pattern>().unwrap().matches(name),
                fits,
                "{pattern} {name}"
            );
        }
        assert!("Payments".parse::<Pattern>().is_err());
        assert!("a.b".parse::<Pattern>().is_err());
    }

    #[test]
    fn an_address_never_carries_a_password() {
        let refused = "https://user:hunter2@example.org".parse::<HttpUrl>().unwrap_err();
        assert!(!refused.contains("hunter2"));
        assert!("ftp://example.org".parse::<HttpUrl>().is_err());
        assert!("http://127.0.0.1:8080".parse::<HttpUrl>().unwrap().is_loopback());
        assert!(
            !"http://localhost.example.org"
                .parse::<HttpUrl>()
                .unwrap()
                .is_loopback()
        );
    }
}
