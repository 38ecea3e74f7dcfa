//! A person, as the sign-in provider names them, and the question when two accounts are one person.

use serde::{Deserialize, Serialize};

/// Somebody who signed in, with what the provider said of them at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The stable id of the person behind the account (an employee id), from the configured claim.
    pub person_claim: String,
    /// The provider that vouches for the account.
    pub issuer: String,
    /// The account's id at that provider.
    pub subject: String,
    /// The name to show. Text from outside: escape it.
    pub name: String,
    /// The e-mail address, if the provider gave one.
    pub email: Option<String>,
    /// Whether the provider says that it checked the address.
    pub email_verified: bool,
    /// The groups, sorted, without repeats.
    pub groups: Vec<String>,
    /// The login at the forge, where a claim names it.
    pub forge_login: Option<String>,
}

impl Person {
    /// Whether both are one human being: the same person claim, the same account, or the same
    /// verified e-mail address. Letter case never tells two people apart.
    ///
    /// Separation of duty rests on this. Each rule alone is enough, so a doubt reads as "the same":
    /// that costs another approver, the opposite would let somebody approve their own request.
    #[must_use]
    pub fn same_person(&self, other: &Self) -> bool {
        let same_email = match (self.verified_email(), other.verified_email()) {
            (Some(one), Some(two)) => folded(one) == folded(two),
            _ => false,
        };
        self.surely_same_person(other) || same_email
    }

    /// Whether both are one human being beyond doubt: the same person claim, or the same account.
    ///
    /// What is one's own rests on this: seeing a request, its key, ending an access. An e-mail address
    /// is no proof there: it may have been somebody else's before, and whoever holds it now would be
    /// shown the key.
    #[must_use]
    pub fn surely_same_person(&self, other: &Self) -> bool {
        let same_claim = folded(&self.person_claim) == folded(&other.person_claim);
        let same_account = self.issuer == other.issuer && self.subject == other.subject;
        same_claim || same_account
    }

    /// The e-mail address if the provider says that it belongs to this person.
    #[must_use]
    pub fn verified_email(&self) -> Option<&str> {
        self.email
            .as_deref()
            .filter(|email| self.email_verified && !email.trim().is_empty())
    }

    /// Whether this person is in `group`, spelled exactly so.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(claim: &str, subject: &str, email: &str) -> Person {
        Person {
            person_claim: claim.to_owned(),
            issuer: "https://sign-in.example.test".to_owned(),
            subject: subject.to_owned(),
            name: "On-call engineer".to_owned(),
            email: Some(email.to_owned()),
            email_verified: true,
            groups: vec!["payments".to_owned()],
            forge_login: None,
        }
    }

    #[test]
    fn two_accounts_with_one_employee_id_are_one_person() {
        let one = person("E1001", "oncall", "oncall@example.test");
        let two = person("E1001", "oncall-lead", "lead@example.test");
        assert!(one.same_person(&two) && two.same_person(&one));
        assert!(one.same_person(&person(" e1001 ", "third", "third@example.test")));
    }

    #[test]
    fn one_account_is_one_person_whatever_its_claims_became() {
        let one = person("E1001", "oncall", "oncall@example.test");
        assert!(one.same_person(&person("E7777", "oncall", "new@example.test")));
    }

    #[test]
    fn a_subject_means_nothing_at_another_provider() {
        let one = person("E1001", "7", "oncall@example.test");
        let two = Person {
            issuer: "https://other.example.test".to_owned(),
            ..person("E1002", "7", "second@example.test")
        };
        assert!(!one.same_person(&two));
    }

    #[test]
    fn one_verified_address_is_one_person_in_any_case() {
        let one = person("E1001", "oncall", "oncall@example.test");
        assert!(one.same_person(&person("E9001", "same-mail", "OnCall@Example.Test")));
    }

    #[test]
    fn an_address_makes_nothing_ones_own() {
        let one = person("E1001", "oncall", "oncall@example.test");
        let heir = person("E9001", "same-mail", "OnCall@Example.Test");
        assert!(!one.surely_same_person(&heir) && !heir.surely_same_person(&one));
        assert!(one.surely_same_person(&person("e1001", "oncall-lead", "lead@example.test")));
        assert!(one.surely_same_person(&person("E7777", "oncall", "new@example.test")));
    }

    #[test]
    fn an_unverified_address_proves_nothing() {
        let one = person("E1001", "oncall", "oncall@example.test");
        let claimed = Person {
            email_verified: false,
            ..person("E9001", "same-mail", "oncall@example.test")
        };
        assert!(!one.same_person(&claimed) && !claimed.same_person(&one));
    }

    #[test]
    fn missing_addresses_do_not_make_two_people_one() {
        let one = Person {
            email: None,
            ..person("E1001", "oncall", "")
        };
        let two = Person {
            email: None,
            ..person("E1002", "second", "")
        };
        assert!(!one.same_person(&two));
        assert!(!person("E1", "a", " ").same_person(&person("E2", "b", " ")));
    }

    #[test]
    fn a_group_is_matched_whole() {
        let one = person("E1001", "oncall", "oncall@example.test");
        assert!(one.is_in("payments"));
        assert!(!one.is_in("pay") && !one.is_in("Payments"));
    }
}
