//! Secrets in text: by the form of the token, by the name before it, by the program it is given to.

use regex::Regex;
use std::{borrow::Cow, fmt::Write as _, sync::LazyLock};

use super::redact::{Context, MARK, Redactor};

/// Scrubs free text; the count is how many pieces were taken out.
#[must_use]
pub fn scrub(text: &str) -> (Cow<'_, str>, u32) {
    let mut redactor = Redactor::default();
    let out = redactor.text(text);
    (out, redactor.count)
}

/// Scrubs a URI.
#[must_use]
pub(super) fn uri(uri: &str) -> String {
    Redactor::default().uri(uri)
}

/// Scrubs bytes that could not be read as an event. Rules that need structure cannot run on
/// them, so from the first body on every string value goes; who, what and the shape stay.
#[must_use]
pub(super) fn scrub_unread(raw: &[u8]) -> String {
    static DATA: LazyLock<Regex> =
        LazyLock::new(|| regex(r#"(\\*"(?:data|stringData|binaryData)\\*"\s*:\s*)\{[^}]*\}?"#));
    static URI: LazyLock<Regex> = LazyLock::new(|| regex(r#"("requestURI"\s*:\s*")([^"]*)"#));
    static STRING: LazyLock<Regex> = LazyLock::new(|| regex(r#"(?s)"(?:[^"\\]|\\.)*(?:"(\s*:)?|\\?\z)"#));
    static BODY: LazyLock<Regex> = LazyLock::new(|| regex(r#""(?:requestObject|responseObject)"\s*:"#));
    let text = String::from_utf8_lossy(raw);
    let text = URI.replace_all(&text, |found: &regex::Captures<'_>| {
        format!("{}{}", &found[1], uri(&found[2]))
    });
    let bodies = BODY.find(&text).map_or(text.len(), |found| found.start());
    let head = DATA.replace_all(&text[..bodies], "${1}\"[redacted]\"");
    let values = STRING.replace_all(&text[bodies..], |found: &regex::Captures<'_>| {
        match found.get(1) {
            Some(_) => found[0].to_owned(),
            None => format!("\"{MARK}\""),
        }
    });
    format!("{}{}", scrub(&head).0, scrub(&values).0)
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern written in this file")
}

/// Programs whose short options carry a password (`mysql -pX`, `curl -u user:X`, `redis-cli -a X`).
const PROGRAMS: &str = r"(?:mysql\w*|mariadb[\w-]*|sshpass|redis-cli|curl|wget|docker|podman|helm|ldap\w+|sqlcmd|mongo\w*|htpasswd|smbclient|rabbitmqadmin)";

pub(super) struct Patterns {
    /// Whole tokens that are known by their form.
    pub(super) token: Regex,
    /// `name =`, `name:`, `"name":` before a value.
    assigned: Regex,
    /// `--name` before a value in the next word.
    option: Regex,
    /// A program of [`PROGRAMS`] and its arguments.
    program: Regex,
    short: Regex,
    pub(super) program_name: Regex,
    userinfo: Regex,
    pub(super) manifest: Regex,
    opaque: Regex,
    word: Regex,
}

pub(super) static P: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    token: regex(concat!(
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
        r"|(?i:\b(?:bearer|basic)\b[\s:=+]+[A-Za-z0-9._~+/=-]{3,})",
        r"|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}",
        r"|\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}",
        r"|\b(?:ghp|gho|ghu|ghs|ghr|github_pat|glpat|gldt|glrt|npm|dckr_pat|pypi|hvs|hvb|sk_live|sk_test|rk_live|whsec|dop_v1|shpat|sk-ant|sk-proj|xox[abeoprs]|xapp|dapi|atlasv1)[-_.][A-Za-z0-9_.=-]{8,}",
        r"|\bAIza[A-Za-z0-9_-]{20,}|\bya29\.[A-Za-z0-9_-]+|\bSG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+",
        r"|\bAGE-SECRET-KEY-1[A-Z0-9]+|\$(?:2[aby]|5|6|y|argon2id?|apr1)\$[A-Za-z0-9./$=,+]{8,}",
        r"|(?i:hooks\.slack\.com/services/)[A-Za-z0-9/]+",
    )),
    assigned: regex(r#"([A-Za-z0-9_][A-Za-z0-9_.\-/]*)((?:\\*["'])?\s*(?::=|=>|=|:)\s*)"#),
    option: regex(r"(?:^|[\s'\x22])--?([A-Za-z0-9][A-Za-z0-9_.\-]*)(\s+)"),
    program: regex(&format!(r"\b{PROGRAMS}\b[^|;&\n]*")),
    short: regex(r"(\s-[A-Za-z]*?[pauw](?:\s+|=)?)((?:[^\s'\x22]|'[^']*'?|\x22[^\x22]*\x22?)+)"),
    program_name: regex(&format!("^{PROGRAMS}$")),
    userinfo: regex(r#"([A-Za-z][A-Za-z0-9+.\-]*://[^\s/:@'"]*:)[^\s/'"]+@"#),
    manifest: regex(r#"(?m)^[\s\-]*["']?kind["']?\s*:\s*["']?(?i:secret)(?:list)?["']?\s*(?:#.*)?$"#),
    opaque: regex(r"^\s*[A-Za-z0-9+/_=-]{24,}\s*$"),
    word: regex(r#"^(?:\\.|[^\s"'\\]|"(?:[^"\\]|\\.)*"?|'[^']*'?)+"#),
});

/// Does a field, variable or option of this name hold a secret? Decided by how the name ends:
/// `DB_PASSWORD`, `apiKey`, `spring.datasource.password` do; `secretName`, `tokenExpiration` do not.
pub(super) fn is_sensitive(name: &str) -> bool {
    const TAILS: [&str; 21] = [
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "passcode",
        "secret",
        "token",
        "tokens",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "signingkey",
        "encryptionkey",
        "authkey",
        "masterkey",
        "sharedkey",
        "credential",
        "credentials",
        "authorization",
        "connectionstring",
    ];
    const WORDS: [&str; 8] = ["pwd", "pass", "pw", "jwt", "cookie", "dsn", "pat", "auth"];
    const TRAILERS: [&str; 11] = [
        "value", "base64", "b64", "hash", "plain", "text", "old", "new", "current", "previous", "data",
    ];
    let name = name.rsplit('/').find(|part| !part.is_empty()).unwrap_or(name);
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            words.push(String::new());
        } else if words.is_empty() || c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(c.to_ascii_lowercase().to_string());
        } else if let Some(word) = words.last_mut() {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    while words.len() > 1 && words.last().is_some_and(|word| TRAILERS.contains(&word.as_str())) {
        words.pop();
    }
    let strip = |word: &str| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    while words.len() > 1 && words.last().is_some_and(|word| strip(word).is_empty()) {
        words.pop();
    }
    let last = words.last().map(|word| strip(word)).unwrap_or_default();
    let joined = strip(&words.concat());
    WORDS.contains(&last.as_str()) || TAILS.iter().any(|tail| joined.ends_with(tail))
}

impl Redactor {
    /// A list of words that may be a command line.
    pub(super) fn command<T: AsRef<str>>(&mut self, words: &[T], context: Context) -> Vec<String> {
        let mut clean: Vec<String> = Vec::with_capacity(words.len());
        let program = words
            .first()
            .map_or("", |word| word.as_ref().rsplit('/').next().unwrap_or_default());
        let short_options = P.program_name.is_match(program);
        let mut hide_next = false;
        for word in words {
            let word = word.as_ref();
            let option = word.strip_prefix('-').map(|rest| rest.trim_start_matches('-'));
            let takes_secret = short_options && matches!(word, "-p" | "-a" | "-u" | "-w");
            let attached = short_options && !word.starts_with("--") && word.len() > 2;
            if std::mem::take(&mut hide_next) && (!word.starts_with("--") || word.is_empty()) {
                clean.push(self.mark());
            } else if attached
                && let Some(flag) = ["-p", "-a", "-u", "-w"].iter().find(|f| word.starts_with(**f))
            {
                // `-pMyPass` is no option of that name; where it is one (`-password`), what follows goes too.
                hide_next = option.is_some_and(is_sensitive);
                clean.push(format!("{flag}{}", self.mark()));
            } else if option.is_some_and(is_sensitive) || takes_secret {
                hide_next = true;
                clean.push(word.to_owned());
            } else {
                clean.push(self.string(word, context));
            }
        }
        clean
    }

    /// Path and query of a request, `command` words taken together.
    pub(super) fn uri(&mut self, uri: &str) -> String {
        let (path, query) = uri
            .split_once('?')
            .map_or((uri, None), |(path, query)| (path, Some(query)));
        let mut out = self.decoded(path, path).into_owned();
        let Some(query) = query else { return out };
        let pairs: Vec<(&str, &str)> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        let plain = |text: &str| {
            percent_encoding::percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let is_word = |key: &str| plain(key) == "command";
        let words: Vec<String> = pairs
            .iter()
            .filter(|(key, _)| is_word(key))
            .map(|(_, word)| plain(word))
            .collect();
        let mut clean = self.command(&words, Context::default()).into_iter().zip(&words);
        for (n, (key, value)) in pairs.iter().enumerate() {
            out.push(if n == 0 { '?' } else { '&' });
            let shown: Cow<'_, str> = if is_word(key) {
                match clean.next() {
                    Some((clean, word)) if clean == *word => Cow::Borrowed(*value),
                    Some((clean, _)) => Cow::Owned(encode(&clean)),
                    None => Cow::Borrowed(""),
                }
            } else if is_sensitive(&plain(key)) && !value.is_empty() {
                Cow::Owned(self.mark())
            } else {
                self.decoded(value, &plain(value))
            };
            out.push_str(&self.decoded(key, &plain(key)));
            if !value.is_empty() {
                out.push('=');
                out.push_str(&shown);
            }
        }
        out
    }

    /// `raw` unless scrubbing its decoded form, or the form decoded once more, finds something.
    fn decoded<'t>(&mut self, raw: &'t str, plain: &str) -> Cow<'t, str> {
        let clean = self.string(plain, Context::default());
        if clean != plain {
            return Cow::Owned(encode(&clean));
        }
        let again = percent_encoding::percent_decode_str(plain).decode_utf8_lossy();
        if again != plain && self.string(&again, Context::default()) != *again {
            return Cow::Owned(MARK.to_owned());
        }
        Cow::Borrowed(raw)
    }

    pub(super) fn text<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let mut out = Cow::Borrowed(text);
        self.replace(&mut out, &P.token, MARK);
        self.replace(&mut out, &P.userinfo, "${1}[redacted]@");
        if P.program.is_match(&out) {
            let mut found = 0;
            let clean = P.program.replace_all(&out, |line: &regex::Captures<'_>| {
                found += u32::try_from(P.short.find_iter(&line[0]).count()).unwrap_or(u32::MAX);
                P.short.replace_all(&line[0], "${1}[redacted]").into_owned()
            });
            if found > 0 {
                self.count = self.count.saturating_add(found);
                out = Cow::Owned(clean.into_owned());
            }
        }
        self.after(&mut out, &P.option, true);
        self.after(&mut out, &P.assigned, false);
        out
    }

    fn replace(&mut self, text: &mut Cow<'_, str>, pattern: &Regex, with: &str) {
        let found = pattern.find_iter(text).count();
        if found > 0 {
            self.count = self
                .count
                .saturating_add(u32::try_from(found).unwrap_or(u32::MAX));
            *text = Cow::Owned(pattern.replace_all(text, with).into_owned());
        }
    }

    /// Takes out the value behind each sensitive name that `pattern` finds. The walk goes on
    /// right behind a name that is not sensitive, so that `note: password=x` is seen.
    fn after(&mut self, text: &mut Cow<'_, str>, pattern: &Regex, words_only: bool) {
        let mut out = String::new();
        let (mut copied, mut at) = (0, 0);
        while let Some(found) = pattern.captures_at(text, at) {
            let (Some(whole), Some(name), Some(gap)) = (found.get(0), found.get(1), found.get(2)) else {
                break;
            };
            let from = whole.end();
            if !is_sensitive(name.as_str()) {
                // Option names overlap what follows them by their leading blank.
                at = if words_only { name.end() } else { from };
                continue;
            }
            let rest = &text[from..];
            let quote = text[..name.start()]
                .chars()
                .next_back()
                .filter(|c| matches!(c, '"' | '\''));
            let one_word = words_only || gap.as_str().trim_start_matches(['"', '\'', '\\']) == "=";
            let quoted = rest.trim_start_matches('\\').starts_with(['"', '\'']);
            let length = if one_word || quoted {
                P.word.find(rest).map_or(0, |word| word.end())
            } else {
                let line = rest.find('\n').unwrap_or(rest.len());
                quote.and_then(|quote| rest[..line].find(quote)).unwrap_or(line)
            };
            if length > 0 && !rest[..length].trim_matches(['"', '\'', '\\']).starts_with(MARK) {
                out.push_str(&text[copied..from]);
                let keep_quotes = quoted && rest[..length].len() > 1;
                let mark = self.mark();
                let quote = if keep_quotes { "\"" } else { "" };
                out.extend([quote, mark.as_str(), quote]);
                copied = from + length;
            }
            at = from + length;
        }
        if copied > 0 {
            out.push_str(&text[copied..]);
            *text = Cow::Owned(out);
        }
    }
}

/// A whole value without a blank that mixes letters and digits, or is long hexadecimal: how keys
/// and tokens look, and image names, hosts and sentences do not.
pub(super) fn is_opaque(text: &str) -> bool {
    P.opaque.is_match(text)
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && !text.contains("//")
        && (text.bytes().filter(|b| matches!(b, b'-' | b'_' | b'/')).count() < 3)
}

/// Percent-encodes what would end the parameter; the rest stays readable.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' => out.push_str("%20"),
            '%' | '&' | '#' | '+' | '=' | '?' => {
                let _ = write!(out, "%{:02X}", u32::from(c));
            }
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for b in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "%{b:02X}");
                }
            }
            c => out.push(c),
        }
    }
    out
}
