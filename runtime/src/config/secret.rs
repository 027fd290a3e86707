use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A URL that may hold a password: it is shown without.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL with its password, for whoever connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `text` with `***` for the password of a URL, before the `@` or in the query.
#[must_use]
pub fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    // Up to the last `@`, whatever stands there: a password may hold a slash, though it should not.
    let place = match place.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => place.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(redact_parameter).collect::<Vec<_>>().join("&"));
    format!("{scheme}://{place}{}", query.map_or(String::new(), |query| format!("?{query}")))
}

fn redact_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("passw") => format!("{name}=***"),
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn only_the_password_is_hidden() {
        for (text, shown) in [
            ("postgres://u:p@h:1/db", "postgres://u:***@h:1/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("postgres://u:p%40:@h/db?sslmode=disable", "postgres://u:***@h/db?sslmode=disable"),
            ("postgres://h/db?user=u&password=p", "postgres://h/db?user=u&password=***"),
            ("mongodb://u:p@h:1,h:2/?replicaSet=rs0", "mongodb://u:***@h:1,h:2/?replicaSet=rs0"),
            ("mysql://u:a/b@h/db", "mysql://u:***@h/db"),
            ("127.0.0.1:9092", "127.0.0.1:9092"),
        ] {
            assert_eq!(redact(text), shown);
        }
    }
}
