//! The landing's configuration: one TOML file.
//!
//! ```toml
//! listen = "127.0.0.1:9443"
//! certificate = "landing.pem"
//! key = "landing.key"
//! client_ca = "ca.pem"
//!
//! [[destination]]
//! name = "lake"
//! root = "/data/lake"
//! policy = "treatment"
//! gateways = ["ward-3"]
//! ```
//!
//! Relative paths are relative to the file's folder. What is not known here is an error, with its place.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use model::Slug;
use serde::Deserialize;

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most destinations.
pub const DESTINATIONS_MAX: usize = 64;
/// The labels a destination can take.
pub const POLICIES: [&str; 4] = ["treatment", "limited-data-set", "expert-determination", "safe-harbor"];
/// The port where nothing else is said.
pub const PORT_DEFAULT: u16 = 9443;

/// Why a configuration cannot be used. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not the TOML that is expected.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A value does not make sense.
    #[error("{}: {message}", path.display())]
    Sense {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// Everything that is wrong with a file, a line each.
#[derive(Debug)]
pub struct Mistakes(pub Vec<Error>);

impl std::fmt::Display for Mistakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

impl From<Error> for Mistakes {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

/// The configuration, checked; all paths are absolute or relative to the working directory.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gateways connect.
    pub listen: SocketAddr,
    /// Where `/healthz` and `/readyz` are answered without TLS; nowhere by default.
    pub operations: Option<SocketAddr>,
    /// The server's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authorities that issue gateways' certificates, PEM.
    pub client_ca: PathBuf,
    /// Revocation lists of those authorities, PEM.
    pub client_crl: Option<PathBuf>,
    /// Where batches go.
    pub destinations: Vec<Destination>,
}

/// One destination: a table root.
#[derive(Debug, Clone)]
pub struct Destination {
    /// As gateways call it.
    pub name: Slug,
    /// The folder of its tables.
    pub root: PathBuf,
    /// Label of the policy whose releases it takes.
    pub policy: String,
    /// The gateways that may deliver; all that the authority names where `None`.
    pub gateways: Option<HashSet<Slug>>,
}

impl Destination {
    /// Whether a gateway may deliver here.
    pub fn admits(&self, gateway: &Slug) -> bool {
        self.gateways.as_ref().is_none_or(|admitted| admitted.contains(gateway))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default = "listen_default")]
    listen: SocketAddr,
    operations: Option<SocketAddr>,
    certificate: PathBuf,
    key: PathBuf,
    client_ca: PathBuf,
    client_crl: Option<PathBuf>,
    #[serde(default, rename = "destination")]
    destinations: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: toml::Spanned<Slug>,
    root: toml::Spanned<PathBuf>,
    policy: toml::Spanned<String>,
    gateways: Option<Vec<Slug>>,
}

const fn listen_default() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT_DEFAULT)
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Mistakes`], each with its place in the file.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let unreadable = |source| Error::File { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > FILE_BYTES_MAX {
            let source =
                std::io::Error::other(format!("it has {size} bytes; at most {FILE_BYTES_MAX} are read"));
            return Err(unreadable(source).into());
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?, path)
    }

    /// Reads text; `path` is for errors and for relative paths. What is no TOML of this shape ends the reading at once;
    /// of the rest every mistake is named.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Mistakes> {
        let at = |at: usize, message: String| {
            let (line, column) = place(text, at);
            Error::Syntax { path: path.to_owned(), line, column, message }
        };
        let document: Document = toml::from_str(text)
            .map_err(|e| at(e.span().map_or(0, |s| s.start), e.message().trim().to_owned()))?;
        let sense = |message: String| Error::Sense { path: path.to_owned(), message };
        let mut mistakes = Vec::new();
        if document.destinations.is_empty() {
            mistakes.push(sense("no [[destination]]: nothing could land".to_owned()));
        }
        if document.destinations.len() > DESTINATIONS_MAX {
            return Err(sense(format!("more than {DESTINATIONS_MAX} destinations")).into());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut destinations: Vec<Destination> = Vec::new();
        for written in document.destinations {
            let Written { name, root, policy, gateways } = written;
            let (named_at, root_at, policy_at) = (name.span().start, root.span().start, policy.span().start);
            let (name, policy) = (name.into_inner(), policy.into_inner());
            if !POLICIES.contains(&policy.as_str()) {
                let known = POLICIES.join(", ");
                mistakes.push(at(policy_at, format!("no policy is labelled `{policy}`; there are {known}")));
            }
            let root = folder.join(root.into_inner());
            if destinations.iter().any(|other| other.name == name) {
                mistakes.push(at(named_at, format!("two destinations are called `{name}`")));
            }
            let ours = plain(&root);
            let shares = |other: &&Destination| {
                let theirs = plain(&other.root);
                ours.starts_with(&theirs) || theirs.starts_with(&ours)
            };
            if let Some(other) = destinations.iter().find(shares) {
                let other = &other.name;
                let what =
                    format!("the destinations `{name}` and `{other}` share a root; give each its own folder");
                mistakes.push(at(root_at, what));
            }
            destinations.push(Destination {
                name,
                root,
                policy,
                gateways: gateways.map(|g| g.into_iter().collect()),
            });
        }
        if !mistakes.is_empty() {
            return Err(Mistakes(mistakes));
        }
        Ok(Self {
            listen: document.listen,
            operations: document.operations,
            certificate: folder.join(document.certificate),
            key: folder.join(document.key),
            client_ca: folder.join(document.client_ca),
            client_crl: document.client_crl.map(|p| folder.join(p)),
            destinations,
        })
    }
}

/// A path for comparison: links resolved as far as it exists, `.` and `..` as far as it does not.
fn plain(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let mut plain = match (path.parent(), path.is_absolute()) {
        (Some(parent), _) if !parent.as_os_str().is_empty() => self::plain(parent),
        (_, true) => PathBuf::from("/"),
        _ => std::env::current_dir().unwrap_or_default(),
    };
    match path.components().next_back() {
        Some(Component::Normal(name)) => plain.push(name),
        Some(Component::ParentDir) => {
            plain.pop();
        }
        _ => {}
    }
    plain
}

/// Line and column of a byte, from 1, columns in characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "certificate = \"c.pem\"\nkey = \"k.pem\"\nclient_ca = \"ca.pem\"\n";

    fn parse(rest: &str) -> Result<Config, String> {
        Config::parse(&format!("{HEAD}{rest}"), Path::new("/etc/landing.toml")).map_err(|e| e.to_string())
    }

    fn destination(name: &str, root: &str, policy: &str) -> String {
        format!("[[destination]]\nname = \"{name}\"\nroot = \"{root}\"\npolicy = \"{policy}\"\n")
    }

    #[test]
    fn the_smallest_file_is_enough() {
        let config = parse(&destination("lake", "tables", "treatment")).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:9443");
        assert_eq!(config.certificate, Path::new("/etc/c.pem"));
        let [lake] = config.destinations.as_slice() else { panic!() };
        assert_eq!((lake.root.as_path(), lake.policy.as_str()), (Path::new("/etc/tables"), "treatment"));
        assert!(lake.admits(&"anyone".parse().unwrap()));
    }

    #[test]
    fn an_allow_list_is_closed() {
        let text = format!("{}gateways = [\"ward-3\"]\n", destination("lake", "tables", "treatment"));
        let config = parse(&text).unwrap();
        let admits = |g: &str| config.destinations.iter().all(|d| d.admits(&g.parse().unwrap()));
        assert!(admits("ward-3") && !admits("ward-4"));
    }

    #[test]
    fn a_mistake_hides_no_other() {
        let text = format!("{}{}", destination("lake", "a", "none"), destination("lake", "a/b", "secret"));
        let got = parse(&text).unwrap_err();
        assert_eq!(got.lines().count(), 4, "{got}");
        for part in [
            "7:10: no policy is labelled `none`",
            "9:8: two destinations",
            "10:8: the destinations",
            "11:10: ",
        ] {
            assert!(got.contains(part), "{part} of\n{got}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let lake = destination("lake", "a", "treatment");
        for (rest, error) in [
            (String::new(), "/etc/landing.toml: no [[destination]]: nothing could land"),
            ("colour = 1".into(), "/etc/landing.toml:4:1: unknown field `colour`"),
            ("listen = \"here\"".into(), "/etc/landing.toml:4:10: invalid socket address syntax"),
            (destination("Lake", "a", "treatment"), "/etc/landing.toml:5:8: a name has 1 to 63 characters"),
            (destination("lake", "a", "none"), "/etc/landing.toml:7:10: no policy is labelled `none`"),
            (format!("{lake}{lake}"), "two destinations are called `lake`"),
            (
                format!("{lake}{}", destination("other", "./x/../a", "safe-harbor")),
                "the destinations `other` and `lake` share a root",
            ),
            (
                format!("{lake}{}", destination("other", "a/below", "safe-harbor")),
                "the destinations `other` and `lake` share a root",
            ),
            ("[[destination]]\nname = 1".into(), "/etc/landing.toml:5:8: "),
        ] {
            let got = parse(&rest).unwrap_err();
            assert!(got.contains(error), "{rest}\n  {got}\n  {error}");
        }
    }
}
