//! The link that opens the request form filled in with an access there was.

use super::pages::Href;

/// An access as the form asks for it.
pub(super) struct Like<'a> {
    /// The team.
    pub team: &'a str,
    /// The cluster.
    pub cluster: &'a str,
    /// The profile.
    pub profile: &'a str,
    /// The namespaces.
    pub namespaces: &'a [String],
}

/// The form, filled in with that access and with `more` fields, by their names.
pub(super) fn filled(like: &Like<'_>, more: &[(&str, &str)]) -> Href {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("team", like.team)
        .append_pair("cluster", like.cluster)
        .append_pair("profile", like.profile)
        .extend_pairs(like.namespaces.iter().map(|namespace| ("namespace", namespace)))
        .extend_pairs(more);
    Href::path(format!("/requests/new?{}", query.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_stays_in_its_own_field() {
        let like = Like {
            team: "payments",
            cluster: "demo",
            profile: "a&b=c",
            namespaces: &["one".to_owned(), "two".to_owned()],
        };
        let link = filled(&like, &[("reason", "1 & 2 #3")]);
        assert_eq!(
            link.to_string().replace("&amp;", "&").replace("&#38;", "&"),
            "/requests/new?team=payments&cluster=demo&profile=a%26b%3Dc&namespace=one&namespace=two&reason=1+%26+2+%233"
        );
    }
}
