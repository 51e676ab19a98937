//! All wiring in one `build`: what is made of what, and in which order it stops.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use audit::export::syslog::Body;
use control::Checked;
use forward::AnyDestination;
use model::{AuditAction, AuditEvent, Clock, Slug};
use pipeline::{Feed, Pipeline, Route};
use profile::Catalogue;
use sources::{http, mllp, mqtt};
use spool::{RootKey, Spool};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::applied;
use crate::background::Background;
use crate::claim::Claim;
use crate::feeds::{FeedHandle, SourceHandle};
use crate::operations;
use crate::product::{Gateway, Target};
use crate::syslog::{self, Relay};

/// Nobody but the daemon's own user has any business there.
const DATA_DIR_MODE: u32 = 0o700;
/// How often certificate files are looked at.
const CERTIFICATE_CHECK_EVERY: Duration = Duration::from_secs(10);

/// How often a destination is tried that was not reached and has nothing to get.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(10);

/// How often a full journal is looked at, where the start waits for it.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(1);

/// The logs' place in the data directory.
pub(crate) const SPOOL_DIR: &str = "spool";

enum Source {
    Mllp(Box<mllp::Server>),
    Mqtt(Box<mqtt::Client>),
    Fhir(Box<http::Server>),
}

/// A gateway whose sockets are bound and whose logs are open.
pub(crate) struct Built {
    spool: Arc<Spool>,
    gateway: Arc<Gateway>,
    pipeline: Pipeline<AnyDestination>,
    sources: Vec<Source>,
    operations: TcpListener,
    control: UnixListener,
    web: web::Server,
    connections: TaskTracker,
    relay: Option<Relay>,
}

/// Opens, binds and loads everything that can fail, before anything runs.
pub(crate) async fn build(checked: Checked, clock: Arc<dyn Clock>) -> anyhow::Result<Built> {
    let Checked { document, policies, routers, .. } = checked;
    let id = document.gateway.id.clone();
    let data_dir = document.gateway.data_dir.clone();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(DATA_DIR_MODE)
        .create(&data_dir)
        .with_context(|| format!("{} cannot be made", data_dir.display()))?;
    let spool_dir = data_dir.join(SPOOL_DIR);
    let keys = RootKey::from_file(&document.spool.key_file, !Spool::is_begun(&spool_dir))?;
    let spool = open_spool(&spool_dir, &document.spool, keys, &id, &clock).await?;
    let spool = Arc::new(spool);

    let connections = TaskTracker::new();
    let mut routes = Vec::new();
    let mut targets = Vec::new();
    for d in &document.destinations {
        let policy =
            policies.get(&d.policy).ok_or_else(|| anyhow!("policy {} was not compiled", d.policy))?;
        let kind = d.kind().ok_or_else(|| anyhow!("destination {} has no kind", d.name))?;
        let destination = Arc::new(kind.build(&d.name, &connections)?);
        targets.push(Target {
            name: d.name.clone(),
            kind: destination.kind(),
            policy: d.policy.clone(),
            destination: Arc::clone(&destination),
            away: std::sync::Mutex::default(),
        });
        routes.push(Route {
            name: d.name.clone(),
            policy: Arc::clone(policy),
            destination,
            start: d.start.0,
            consent: d.consent.as_ref().map(control::Consent::asked),
            batch: d.batch.limits(),
        });
    }
    let feeds = document
        .feeds
        .iter()
        .map(|f| Feed {
            name: f.name.clone(),
            lane: f.lane,
            destinations: f.destinations.clone(),
            routes: routers.get(&f.name).cloned(),
            device_topics: f.mqtt.as_ref().map(|m| m.topics.clone()).unwrap_or_default(),
            charset: f.mllp.as_ref().and_then(|m| m.charset()),
            consent: f.consent.codes(),
        })
        .collect();
    let profiles = Arc::new(Catalogue::builtin()?);
    let pipeline =
        Pipeline::build(id.clone(), Arc::clone(&spool), Arc::clone(&clock), profiles, feeds, routes)
            .await?
            .paced(document.audit.pace());

    let mut sources = Vec::new();
    let mut handles = Vec::new();
    for feed in &document.feeds {
        let (source, handle) = source(feed, &clock).with_context(|| format!("feed {}", feed.name))?;
        sources.push(source);
        handles.push(FeedHandle { name: feed.name.clone(), source: handle });
    }
    let listen = document.operations.listen;
    let operations =
        operations::bind(listen).await.with_context(|| format!("operations cannot listen on {listen}"))?;
    let control = operations::bind_control(&data_dir)
        .with_context(|| format!("the control socket in {} cannot be made", data_dir.display()))?;
    let relay =
        document.audit.syslog.as_ref().map(|syslog| relay(syslog, &id, &spool, &clock)).transpose()?;
    let claim = Claim::prepare(pipeline.handle().journal().clone()).await?;
    let gateway = Arc::new(Gateway {
        id,
        data_dir: data_dir.clone(),
        started: clock.now(),
        clock: Arc::clone(&clock),
        pipeline: pipeline.handle(),
        feeds: handles,
        targets,
        claim,
        claiming: Mutex::new(()),
        door: web::Hasher::new()?,
        syslog: relay.as_ref().map(|relay| relay.board.clone()),
    });
    applied::note(&gateway, &document, &policies).await?;
    let product: Arc<dyn web::Product> = Arc::<Gateway>::clone(&gateway);
    let web = web::Server::bind(&document.web, &data_dir, clock, product).await?;
    Ok(Built { spool, gateway, pipeline, sources, operations, control, web, connections, relay })
}

fn relay(
    syslog: &control::Syslog,
    gateway: &Slug,
    spool: &Arc<Spool>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Relay> {
    let body = match syslog.format {
        control::SyslogFormat::Json => Body::Json,
        control::SyslogFormat::Atna => Body::Atna,
    };
    let relay = Relay {
        gateway: gateway.clone(),
        dialler: syslog.receiver().dialler().context("the syslog server of [audit]")?,
        body,
        spool: Arc::clone(spool),
        clock: Arc::clone(clock),
        board: syslog::Board::default(),
    };
    relay.announce()?;
    Ok(relay)
}

async fn open_spool(
    dir: &Path,
    config: &spool::Config,
    keys: RootKey,
    gateway: &Slug,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Spool> {
    let (dir, config, gateway, clock) = (dir.to_owned(), config.clone(), gateway.clone(), Arc::clone(clock));
    // Recovery reads the disk; the runtime's threads are not for that.
    Ok(tokio::task::spawn_blocking(move || Spool::open(&dir, &config, keys, &gateway, clock)).await??)
}

fn source(feed: &control::Feed, clock: &Arc<dyn Clock>) -> anyhow::Result<(Source, SourceHandle)> {
    if let Some(config) = &feed.mllp {
        let server = mllp::Server::bind(feed.name.clone(), config, Arc::clone(clock))?;
        let handle = SourceHandle::Mllp(server.handle());
        return Ok((Source::Mllp(Box::new(server)), handle));
    }
    if let Some(config) = &feed.mqtt {
        let client = mqtt::Client::build(feed.name.clone(), config, Arc::clone(clock))?;
        let handle = SourceHandle::Mqtt { broker: config.url.clone(), handle: client.handle() };
        return Ok((Source::Mqtt(Box::new(client)), handle));
    }
    if let Some(config) = &feed.fhir {
        let server = http::Server::bind(feed.name.clone(), config, Arc::clone(clock))?;
        let handle = SourceHandle::Fhir(server.handle());
        return Ok((Source::Fhir(Box::new(server)), handle));
    }
    Err(anyhow!("it says neither mllp nor mqtt nor fhir"))
}

impl Built {
    /// What can be asked of it.
    pub(crate) const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The fingerprint of the UI's certificate and where it listens.
    pub(crate) fn web(&self) -> (String, String) {
        (format!("https://{}/", self.web.local_addr()), self.web.fingerprint().to_owned())
    }

    /// Runs until stopped, then stops in order: sources, intake, delivery, pages, logs.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { spool, gateway, pipeline, sources, operations, control, web, connections, relay } = self;
        let started = audit(&gateway, AuditAction::Started).await;
        let is_full = gateway.is_journal_full();
        if !is_full {
            started?;
        }
        let intake = pipeline.handle().intake();
        let (stop_sources, stop_pipeline, stop_pages) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let background = Background::start()?;
        let outward = background.handle()?;
        let pipeline_tasks = TaskTracker::new();
        drop(pipeline_tasks.spawn_on(pipeline.run(stop_pipeline.clone()), outward));
        pipeline_tasks.close();
        let page_tasks = TaskTracker::new();
        drop(page_tasks.spawn(operations::serve(operations, Arc::clone(&gateway), stop_pages.clone())));
        drop(page_tasks.spawn(operations::serve_control(
            control,
            Arc::clone(&gateway),
            outward.clone(),
            stop_pages.clone(),
        )));
        drop(page_tasks.spawn(web.run(stop_pages.clone())));
        // The first connection is made here, and belongs to the runtime that made it.
        drop(page_tasks.spawn_on(try_destinations(Arc::clone(&gateway), stop_pages.clone()), outward));
        drop(page_tasks.spawn(renew_certificates(Arc::clone(&gateway), stop_pages.clone())));
        if let Some(relay) = relay {
            drop(page_tasks.spawn(relay.run(stop_pages.clone())));
        }
        page_tasks.close();
        if is_full {
            wait_for_room(&gateway, &stop).await;
        }
        let source_tasks = TaskTracker::new();
        for source in sources {
            let (intake, stop) = (intake.clone(), stop_sources.clone());
            match source {
                Source::Mllp(server) => drop(source_tasks.spawn(server.run(intake, stop))),
                Source::Mqtt(client) => drop(source_tasks.spawn(client.run(intake, stop))),
                Source::Fhir(server) => drop(source_tasks.spawn(server.run(intake, stop))),
            }
        }
        source_tasks.close();

        stop.cancelled().await;
        stop_sources.cancel();
        source_tasks.wait().await;
        intake.close().await;
        stop_pipeline.cancel();
        pipeline_tasks.wait().await;
        stop_pages.cancel();
        page_tasks.wait().await;
        let stopped = audit(&gateway, AuditAction::Stopped).await;
        if !gateway.is_journal_full() {
            stopped?;
        }
        drop((gateway, intake));
        connections.close();
        match Arc::try_unwrap(spool) {
            Ok(spool) => spool.stop().await?,
            // Somebody still holds it; what is durable is durable, and the next start finds an unsealed segment.
            Err(_) => {
                tracing::warn!("the logs were still in use at the stop; they are recovered at the next start")
            }
        }
        Ok(())
    }
}

/// A journal that is full when the gateway starts: what makes room in it runs, and the sources wait for the entry that says
/// that they start.
async fn wait_for_room(gateway: &Arc<Gateway>, stop: &CancellationToken) {
    tracing::error!(
        "the journal is full: nothing is taken in until its oldest part may go, or journal_bytes_max is raised"
    );
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_FOR_ROOM_EVERY) => {}
        }
        if !gateway.is_journal_full() && audit(gateway, AuditAction::Started).await.is_ok() {
            return;
        }
    }
}

/// Says at the start which destinations are not reachable, at which step, and what to do. Those that nobody connects to
/// before there is something to send are tried again until they are there; one that was reached is left in peace.
async fn try_destinations(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut left: Vec<_> = gateway.targets.iter().collect();
    let mut is_first = true;
    while !left.is_empty() {
        let mut away = Vec::new();
        for target in left {
            let is_away = tokio::select! {
                () = stop.cancelled() => return,
                is_away = gateway.try_target(target, is_first) => is_away,
            };
            if is_away {
                away.push(target);
            }
        }
        left = away;
        is_first = false;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TRY_AGAIN_EVERY) => {}
        }
    }
}

/// Looks for new certificate files, so that a renewal needs no restart.
async fn renew_certificates(gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CERTIFICATE_CHECK_EVERY) => {}
        }
        for target in &gateway.targets {
            let Some(rotating) = target.destination.rotating() else { continue };
            match rotating.reload_if_changed() {
                Ok(tls::Reloaded::Unchanged) => {}
                Ok(_) => {
                    tracing::info!(destination = %target.name, expires_at = %rotating.current().expires_at(),
                    "the certificate was renewed")
                }
                Err(error) => tracing::warn!(destination = %target.name, %error,
                    "the new certificate cannot be used; the old one stays in use"),
            }
        }
        for feed in &gateway.feeds {
            let Some(listening) = feed.listening() else { continue };
            match listening.reload_if_changed() {
                Ok(tls::Reloaded::Unchanged) => {}
                Ok(_) => {
                    tracing::info!(feed = %feed.name, expires_at = %listening.identity().expires_at(),
                    "the listener's certificates were renewed")
                }
                Err(error) => tracing::warn!(feed = %feed.name, %error,
                    "the listener's new certificates cannot be used; the old ones stay in use"),
            }
        }
    }
}

async fn audit(gateway: &Arc<Gateway>, action: AuditAction) -> anyhow::Result<()> {
    let event = AuditEvent {
        at: gateway.clock.now(),
        actor: "system".to_owned(),
        action,
        subject: gateway.id.to_string(),
        detail: format!("version {}", env!("CARGO_PKG_VERSION")),
    };
    Ok(gateway.audited(event).await?)
}
