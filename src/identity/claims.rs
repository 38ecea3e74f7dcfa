//! Makes a [`Person`] of the verified claims, or says why that cannot be done.

use super::refusal::{Refusal, tame};
use crate::domain::person::Person;
use serde_json::{Map, Value};

/// Which claims mean what.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The stable id of the person.
    pub person: &'a str,
    /// The groups.
    pub groups: &'a str,
    /// The login at the forge.
    pub forge_login: Option<&'a str>,
}

/// The person that `claims` (of a verified ID token) speak of.
pub fn person(claims: &Map<String, Value>, names: Names<'_>) -> Result<Person, Refusal> {
    let subject = text(claims, "sub")?.ok_or_else(|| Refusal::NoPersonClaim {
        claim: "sub".to_owned(),
    })?;
    let issuer = text(claims, "iss")?.unwrap_or_default();
    // Somebody whose groups are unknown must not pass for somebody without groups: policies that
    // exclude a group would let them through. Both forms are those of OpenID Connect Core 5.6.2 and of Entra ID.
    let left_out = claims
        .get("_claim_names")
        .and_then(|names_out| names_out.get(names.groups))
        .is_some();
    if left_out || claims.get("hasgroups").and_then(Value::as_bool) == Some(true) {
        return Err(Refusal::GroupsOverage);
    }
    let person_claim = text(claims, names.person)?.ok_or_else(|| Refusal::NoPersonClaim {
        claim: names.person.to_owned(),
    })?;
    let email = text(claims, "email")?;
    let name = [
        text(claims, "name")?,
        text(claims, "preferred_username")?,
        email.clone(),
    ]
    .into_iter()
    .flatten()
    .next()
    .unwrap_or_else(|| subject.clone());
    Ok(Person {
        person_claim,
        issuer,
        subject,
        name: tame(&name),
        email,
        // Some providers send "true" as text.
        email_verified: claims
            .get("email_verified")
            .is_some_and(|said| said == true || said == "true"),
        groups: groups(claims, names.groups)?,
        forge_login: names
            .forge_login
            .map(|claim| text(claims, claim))
            .transpose()?
            .flatten(),
    })
}

/// A claim as text; a number counts (employee ids often are), an empty text does not.
fn text(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, Refusal> {
    let bad = || Refusal::BadClaim {
        claim: claim.to_owned(),
        expected: "a text of at most 256 printable characters",
    };
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::String(text)) => {
            let text = text.trim();
            if text.len() > 256 || text.chars().any(char::is_control) {
                return Err(bad());
            }
            Ok((!text.is_empty()).then(|| text.to_owned()))
        }
        Some(_) => Err(bad()),
    }
}

/// The groups: a list of texts, or one text for one group. No claim at all is no groups.
fn groups(claims: &Map<String, Value>, claim: &str) -> Result<Vec<String>, Refusal> {
    let bad = || Refusal::BadClaim {
        claim: claim.to_owned(),
        expected: "a list of group names",
    };
    let mut found: Vec<String> = match claims.get(claim) {
        None | Some(Value::Null) => vec![],
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or_else(bad))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(bad()),
    };
    found.retain(|group| !group.is_empty());
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NAMES: Names<'static> = Names {
        person: "employee_id",
        groups: "groups",
        forge_login: Some("forge_login"),
    };

    fn read(change: &Value) -> Result<Person, Refusal> {
        let mut claims = json!({
            "iss": "https://sign-in.example.test", "sub": "oncall", "employee_id": "E1001", "name": "On-call engineer",
            "email": "oncall@example.test", "email_verified": true, "groups": ["payments", "all", "payments"],
            "forge_login": "oncall-dev",
        });
        for (claim, value) in change.as_object().unwrap() {
            claims[claim] = value.clone();
        }
        person(claims.as_object().unwrap(), NAMES)
    }

    #[test]
    fn claims_become_a_person() {
        let person = read(&json!({})).unwrap();
        assert_eq!(person.person_claim, "E1001");
        assert_eq!(person.groups, ["all", "payments"]);
        assert_eq!(person.forge_login.as_deref(), Some("oncall-dev"));
        assert_eq!(person.verified_email(), Some("oncall@example.test"));
        assert_eq!(read(&json!({"employee_id": 1001})).unwrap().person_claim, "1001");
    }

    #[test]
    fn groups_left_out_are_never_no_groups() {
        let named = json!({"groups": null, "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "x"}}});
        assert_eq!(read(&named), Err(Refusal::GroupsOverage));
        assert_eq!(
            read(&json!({"groups": null, "hasgroups": true})),
            Err(Refusal::GroupsOverage)
        );
        assert_eq!(
            read(&json!({"_claim_names": {"address": "src1"}}))
                .unwrap()
                .groups
                .len(),
            2,
            "another claim is elsewhere"
        );
        assert!(read(&json!({"groups": null})).unwrap().groups.is_empty());
    }

    #[test]
    fn without_a_person_claim_nobody_comes_in() {
        for missing in [json!(null), json!(""), json!("   ")] {
            let found = read(&json!({"employee_id": missing}));
            assert_eq!(
                found,
                Err(Refusal::NoPersonClaim {
                    claim: "employee_id".to_owned()
                })
            );
        }
        assert!(matches!(
            read(&json!({"employee_id": ["E1001"]})),
            Err(Refusal::BadClaim { .. })
        ));
        assert!(matches!(
            read(&json!({"employee_id": "E1\n001"})),
            Err(Refusal::BadClaim { .. })
        ));
    }

    #[test]
    fn groups_of_another_shape_are_refused() {
        assert!(matches!(
            read(&json!({"groups": {"payments": true}})),
            Err(Refusal::BadClaim { .. })
        ));
        assert!(matches!(
            read(&json!({"groups": ["payments", 7]})),
            Err(Refusal::BadClaim { .. })
        ));
        assert_eq!(read(&json!({"groups": "payments"})).unwrap().groups, ["payments"]);
    }

    #[test]
    fn an_email_is_verified_only_when_the_provider_says_so() {
        assert!(!read(&json!({"email_verified": null})).unwrap().email_verified);
        assert!(!read(&json!({"email_verified": false})).unwrap().email_verified);
        assert!(read(&json!({"email_verified": "true"})).unwrap().email_verified);
    }
}
