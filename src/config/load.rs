//! Reads the file, and after it the secrets and files that it names.

use super::shape::{self, Keep, Source};
use super::tree::{Node, Step};
use super::{Access, Config, Env, ForgeCredentials, Problem, Secret, Store, validate};
use std::path::{Path, PathBuf};

impl Config {
    /// Reads and validates the file at `path`, its secrets and the files it names.
    ///
    /// # Errors
    /// Every problem that was found, in the order of the file; never none.
    pub fn load(path: &Path, env: &Env) -> Result<Self, Vec<Problem>> {
        let (name, text, folder) = read(path)?;
        Self::from_text(&name, &text, &folder, Some(env))
    }

    /// Reads and validates the file at `path` and nothing it names: for a machine that may know the
    /// configuration and none of its secrets. Such a configuration is to be looked at, not to be
    /// run: each of its secrets is a random value.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_without_secrets(path: &Path) -> Result<Self, Vec<Problem>> {
        let (name, text, folder) = read(path)?;
        Self::from_text(&name, &text, &folder, None)
    }

    /// Reads and validates `text`; `name` is what problems call it, and relative paths begin at
    /// `folder`. Without `env` neither secrets nor the files it names are read.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(name: &str, text: &str, folder: &Path, env: Option<&Env>) -> Result<Self, Vec<Problem>> {
        let source = Source { name, text };
        let tree = Node::parse(text).map_err(|(why, place)| {
            vec![source.problem(place, &[], format!("this is not YAML: {why}"), Keep::Nothing)]
        })?;
        let mut problems = shape::check(&source, &tree);
        if !problems.is_empty() {
            sort(&mut problems);
            return Err(problems);
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let mut config: Self = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let error = error.without_snippet();
            let place = error.location().map_or(tree.place, Into::into);
            vec![source.problem(place, &[], error.to_string(), Keep::Nothing)]
        })?;
        for (name, profile) in &mut config.profiles {
            profile.name.clone_from(name);
        }
        let at = |steps: &[Step], message: String, help: Option<String>| Problem {
            help,
            ..source.problem(tree.place(steps), steps, message, Keep::Line)
        };
        for path in config.paths_mut() {
            *path.1 = folder.join(&*path.1);
        }
        if let Some(env) = env {
            for (steps, path) in config.paths_mut() {
                // A database may be made on the first start; everything else must be there.
                if !matches!(steps.first(), Some(Step::Key(key)) if key == "store")
                    && let Err(error) = std::fs::File::open(&*path)
                {
                    problems.push(at(
                        &steps,
                        format!("the file {} cannot be read: {error}", path.display()),
                        None,
                    ));
                }
            }
            for (steps, secret) in config.secrets_mut() {
                if let Err(why) = secret.read(folder, env) {
                    problems.push(at(&steps, why, None));
                }
            }
        }
        let mut findings = validate::findings(&config);
        if env.is_some() {
            findings.extend(validate::of_files(&config));
        }
        for finding in findings {
            problems.push(at(&finding.steps, finding.message, finding.help));
        }
        if problems.is_empty() {
            return Ok(config);
        }
        sort(&mut problems);
        Err(problems)
    }

    /// Every secret and where it stands.
    fn secrets_mut(&mut self) -> Vec<(Vec<Step>, &mut Secret)> {
        let mut all: Vec<(Vec<Step>, &mut Secret)> = Vec::new();
        if let Store::Postgres(url) = &mut self.store {
            all.push((vec!["store".into(), "postgres".into()], url));
        }
        all.push((
            vec!["sign_in".into(), "client_secret".into()],
            &mut self.sign_in.client_secret,
        ));
        for (name, cluster) in &mut self.clusters {
            if let Some(token) = &mut cluster.audit.token {
                all.push((
                    vec!["clusters".into(), name.into(), "audit".into(), "token".into()],
                    token,
                ));
            }
        }
        let credentials = |last: &[&str]| {
            ["forge", "credentials"]
                .iter()
                .chain(last)
                .map(|key| Step::from(*key))
                .collect::<Vec<_>>()
        };
        all.push(match &mut self.forge.credentials {
            ForgeCredentials::Token(token) => (credentials(&["token"]), token),
            ForgeCredentials::App(app) => (credentials(&["app", "private_key"]), &mut app.private_key),
        });
        all.push((
            vec!["forge".into(), "webhook_secret".into()],
            &mut self.forge.webhook_secret,
        ));
        if let Some(password) = self.notices.smtp.as_mut().and_then(|smtp| smtp.password.as_mut()) {
            all.push((vec!["notices".into(), "smtp".into(), "password".into()], password));
        }
        for (at, webhook) in self.notices.webhooks.iter_mut().enumerate() {
            all.push((
                vec!["notices".into(), "webhooks".into(), at.into(), "secret".into()],
                &mut webhook.secret,
            ));
        }
        all.push((
            vec!["ledger".into(), "signing_key".into()],
            &mut self.ledger.signing_key,
        ));
        let of_ledger = |last: &str| vec![Step::from("ledger"), Step::from(last)];
        if let Some(key) = &mut self.ledger.next_key {
            all.push((of_ledger("next_key"), key));
        }
        if let Some(key) = &mut self.ledger.previous_key {
            all.push((of_ledger("previous_key"), key));
        }
        for (name, reader) in &mut self.ledger.readers {
            let steps = vec!["ledger".into(), "readers".into(), name.into(), "token".into()];
            all.push((steps, &mut reader.token));
        }
        all
    }

    /// Every path of a file and where it stands; those of secrets aside.
    fn paths_mut(&mut self) -> Vec<(Vec<Step>, &mut PathBuf)> {
        let mut all: Vec<(Vec<Step>, &mut PathBuf)> = Vec::new();
        if let Some(tls) = &mut self.server.tls {
            all.push((
                vec!["server".into(), "tls".into(), "cert_file".into()],
                &mut tls.cert_file,
            ));
            all.push((
                vec!["server".into(), "tls".into(), "key_file".into()],
                &mut tls.key_file,
            ));
        }
        if let Store::Sqlite(path) = &mut self.store {
            all.push((vec!["store".into(), "sqlite".into()], path));
        }
        if let Some(path) = &mut self.sign_in.extra_ca_file {
            all.push((vec!["sign_in".into(), "extra_ca_file".into()], path));
        }
        if let Some(path) = &mut self.forge.extra_ca_file {
            all.push((vec!["forge".into(), "extra_ca_file".into()], path));
        }
        for (name, cluster) in &mut self.clusters {
            let under = |last: &[&str]| {
                let mut steps = vec!["clusters".into(), Step::from(name)];
                steps.extend(last.iter().map(|key| Step::from(*key)));
                steps
            };
            if let Access::Kubeconfig(kubeconfig) = &mut cluster.access {
                all.push((under(&["access", "kubeconfig", "file"]), &mut kubeconfig.file));
            }
            if let Some(path) = &mut cluster.engineer_ca_file {
                all.push((under(&["engineer_ca_file"]), path));
            }
            if let Some(path) = &mut cluster.audit.client_ca_file {
                all.push((under(&["audit", "client_ca_file"]), path));
            }
        }
        all
    }
}

fn read(path: &Path) -> Result<(String, String, PathBuf), Vec<Problem>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![Problem {
            file: name.clone(),
            line: 0,
            column: 0,
            field: String::new(),
            message: format!("the configuration cannot be read: {error}"),
            help: None,
            source_line: String::new(),
        }]
    })?;
    Ok((
        name,
        text,
        path.parent().map(Path::to_path_buf).unwrap_or_default(),
    ))
}

fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| (problem.line, problem.column));
}
