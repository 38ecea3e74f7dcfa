//! Kubernetes quantities: `500m` and `0.5` are the same amount.

/// The amount in billionths, or none if the text is no quantity (or is beyond 10^29).
/// Source: apimachinery `resource.Quantity`.
#[must_use]
pub fn nano(text: &str) -> Option<i128> {
    let digits_end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let scale: i128 = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "k" => 1_000_000_000_000,
        "M" => 10_i128.pow(15),
        "G" => 10_i128.pow(18),
        "T" => 10_i128.pow(21),
        "P" => 10_i128.pow(24),
        "E" => 10_i128.pow(27),
        "Ki" => 1_000_000_000 << 10,
        "Mi" => 1_000_000_000 << 20,
        "Gi" => 1_000_000_000 << 30,
        "Ti" => 1_000_000_000_i128 << 40,
        "Pi" => 1_000_000_000_i128 << 50,
        "Ei" => 1_000_000_000_i128 << 60,
        _ => return None,
    };
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let unit = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let part = fraction.parse::<i128>().ok()?.checked_mul(scale)?;
        total = total.checked_add(part / unit)?;
    }
    Some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::nano;

    #[test]
    fn the_same_amount_in_two_spellings_is_equal() {
        for (a, b) in [
            ("500m", "0.5"),
            ("1Gi", "1024Mi"),
            ("1", "1000m"),
            ("1.5Gi", "1536Mi"),
        ] {
            assert_eq!(nano(a), nano(b), "{a} {b}");
            assert!(nano(a).is_some());
        }
        assert_ne!(nano("1G"), nano("1Gi"));
        for no in ["", "Gi", "web", "1X", "1-2", "."] {
            assert_eq!(nano(no), None, "{no}");
        }
    }
}
