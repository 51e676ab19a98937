//! The journal within its budget: what is said again, what goes, what stays, and a death at every step of it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::{AuditAction, AuditEvent, Lane, Timestamp};
use spool::{AuditReader, AuditStep, Disk, Outside, RealDisk, RootKey, check_audit};

use super::anchor::{copy, set_backs, until};
use super::support::*;
use crate::journal::{Beginning, Mark};
use crate::letting_go::LettingGo;
use crate::*;

const SEGMENT_BYTES: u64 = 128 << 10;
const BUDGET_BYTES: u64 = 8 * SEGMENT_BYTES;
/// What the journal takes at most, while its oldest part is let go.
const BYTES_MAX: u64 = BUDGET_BYTES + 2 * SEGMENT_BYTES;
const KEEP_S: u64 = 7200;

/// Does so many things, and from then on nothing any more.
#[derive(Debug)]
struct Dying(AtomicU64);

impl Dying {
    fn after(count: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(count)))
    }

    fn lives(&self) -> io::Result<()> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| io::Error::other("dead"))
    }
}

impl Disk for Dying {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        // The last breath leaves half of it.
        let lives = self.lives();
        let share = if lives.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        RealDisk.write_at(file, share, offset)?;
        lives
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.lives()?;
        RealDisk.sync_data(file)
    }
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.lives()?;
        RealDisk.allocate(file, bytes)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lives()?;
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.lives()?;
        RealDisk.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lives()?;
        RealDisk.remove(path)
    }
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.lives()?;
        RealDisk.truncate(file, bytes)
    }
    fn available(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.available(dir)
    }
}

/// A clock that moves when it is told to.
#[derive(Debug, Default)]
struct Told(AtomicI64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000 + self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

fn tempdir() -> tempfile::TempDir {
    // Thousands of flushes.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn config() -> spool::Config {
    spool::Config {
        segment_bytes: SEGMENT_BYTES,
        journal_bytes_max: BUDGET_BYTES,
        journal_keep_s: KEEP_S,
        ..small()
    }
}

async fn open_on(dir: &Path, disk: Arc<dyn Disk>) -> (Arc<Spool>, Journal) {
    let outside = Outside { disk, ..Outside::real() };
    let root = RootKey::new(&mut [7; 32]).unwrap();
    let clock = Arc::new(TestClock::default());
    let spool = Spool::open_on(dir, &config(), root, &slug("ward-3"), clock, outside).unwrap();
    let spool = Arc::new(spool);
    (Arc::clone(&spool), Journal::load(spool).await.unwrap())
}

async fn open(dir: &Path) -> (Arc<Spool>, Journal) {
    open_on(dir, Arc::new(RealDisk)).await
}

fn event(detail: &str) -> AuditEvent {
    AuditEvent {
        at: Timestamp::from_micros(1),
        actor: "ada".to_owned(),
        action: AuditAction::SignedIn,
        subject: "ward-3".to_owned(),
        detail: detail.to_owned(),
    }
}

fn mark(through: Seq) -> Mark {
    Mark { incarnation: "i".to_owned(), through }
}

/// Everything that the journal is asked for.
fn told(journal: &Journal) -> String {
    let documents: Vec<_> = (0..7).map(|i| journal.document(&format!("doc-{i}"))).collect();
    let marks: Vec<_> = ["out-1", "out-2", "gone"].map(|name| journal.mark(&slug(name), Lane::Bulk)).into();
    let given_up = [Lane::Bulk, Lane::Urgent].map(|lane| journal.given_up(lane, "i"));
    let once = journal.document("once");
    format!("{:?} {once:?} {documents:?} {marks:?} {given_up:?}", journal.destinations())
}

/// What is said once, at the very beginning, and never again by anybody.
async fn said_once(journal: &Journal) {
    let began = vec![Beginning {
        lane: Lane::Urgent,
        incarnation: "i".to_owned(),
        after: 3,
        ended: None,
        settled: 0,
    }];
    journal.put_document("once", b"said once".to_vec()).await.unwrap();
    journal.add_destination(&slug("out-2"), began).await.unwrap();
    journal.put_mark(&slug("out-2"), Lane::Bulk, mark(4)).await.unwrap();
    journal.give_up(Lane::Urgent, "i".to_owned(), 5).await.unwrap();
}

/// A few changes of each kind: eight entries, two of them of the audit log.
async fn change(spool: &Spool, journal: &Journal, round: u64) -> Result<(), Error> {
    let began = |after| {
        vec![Beginning {
            lane: Lane::Bulk,
            incarnation: "i".to_owned(),
            after,
            ended: Some(after),
            settled: 1,
        }]
    };
    journal.put_document(&format!("doc-{}", round % 7), vec![round as u8; 900]).await?;
    journal.add_destination(&slug("out-1"), began(round)).await?;
    journal.put_mark(&slug("out-1"), Lane::Bulk, mark(round)).await?;
    spool.audit().record(&event(&round.to_string()))?;
    match round % 3 {
        0 => journal.add_destination(&slug("gone"), began(round)).await?,
        1 => journal.put_mark(&slug("gone"), Lane::Bulk, mark(round)).await?,
        _ => journal.remove_destination(&slug("gone")).await?,
    }
    journal.met(&slug("out-1"), Lane::Bulk, format!("i-{}", round % 5), 1).await?;
    journal.give_up(Lane::Bulk, "i".to_owned(), round).await?;
    Ok(spool.audit().record(&event(&round.to_string()))?)
}

/// Somebody outside has everything that is there now.
fn has_all(spool: &Spool) {
    let durable = *spool.journal().durable().borrow();
    spool.audit_log().need("lake", durable, "its receipt of now".to_owned());
}

async fn is_audit_sound(spool: &Spool) -> u64 {
    let check = check_audit(spool.journal(), &Default::default()).await.unwrap();
    assert_eq!(check.findings, []);
    assert_eq!(check.size - check.first, check.entries);
    assert_eq!(check.first, spool.audit_log().freed().unwrap());
    check.size
}

/// The entries that tell of what was freed.
async fn announcements(spool: &Spool) -> Vec<String> {
    let mut reader = AuditReader::new(spool.journal(), 0);
    let mut found = Vec::new();
    while let Some(step) = reader.next().await.unwrap() {
        let AuditStep::Entry(record) = step else { panic!("{step:?}") };
        let event = record.entry.unwrap().event;
        if event.action == AuditAction::JournalFreed {
            found.push(event.detail);
        }
    }
    found
}

#[tokio::test]
async fn it_goes_on_and_on_and_stays_within_its_budget_across_kills() {
    let dir = tempdir();
    let clock = TestClock::default();
    let (mut spool, mut journal) = open(dir.path()).await;
    let mut letting_go = LettingGo::default();
    said_once(&journal).await;
    let (mut oldest, mut audited) = (Vec::new(), 0);
    for round in 0..250 {
        change(&spool, &journal, round).await.unwrap();
        audited += 2;
        has_all(&spool);
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        assert!(spool.journal().stat().bytes <= BUDGET_BYTES);
        if oldest.last() != Some(&spool.journal().oldest()) {
            oldest.push(spool.journal().oldest());
        }
        if round % 9 == 0 {
            let before = told(&journal);
            // Not stopped: the segments are left as a kill would leave them.
            drop((spool, journal));
            (spool, journal) = open(dir.path()).await;
            letting_go = LettingGo::default();
            assert_eq!(told(&journal), before, "round {round}");
            assert!(is_audit_sound(&spool).await >= audited, "round {round}");
        }
    }
    assert!(oldest.len() > 10, "freed {} times", oldest.len());
    let said = announcements(&spool).await;
    let freed = spool.audit_log().freed().unwrap();
    let last = said.last().unwrap();
    assert!(
        last.starts_with(&format!("entries before {freed} go, room is needed; lake: its receipt")),
        "{last}"
    );
}

#[tokio::test]
async fn a_death_at_any_step_loses_nothing_and_doubles_nothing() {
    let before = tempdir();
    let clock = TestClock::default();
    let (spool, journal) = open(before.path()).await;
    let mut letting_go = LettingGo::default();
    said_once(&journal).await;
    // Everything went once, and the state must be said again for the next part.
    let mut round = 0;
    while journal.said().0 == 0 || spool.journal().oldest() <= journal.said().0 {
        change(&spool, &journal, round).await.unwrap();
        has_all(&spool);
        let is_due = spool.journal().oldest() > 1
            && spool.audit_log().oldest_part(Seq::MAX, clock.now()).await.unwrap().is_some_and(|part| {
                part.through >= journal.said().0
                    && spool.journal().stat().bytes > spool.journal().stat().bytes_max / 100 * 75
            });
        if is_due {
            break;
        }
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        round += 1;
    }
    let (oldest, state) = (spool.journal().oldest(), told(&journal));
    let audited = is_audit_sound(&spool).await;
    drop((spool, journal));
    let (mut steps, mut was_said_again) = (0, 0);
    loop {
        let what = format!("dead after {steps} steps");
        let dir = tempdir();
        copy(before.path(), dir.path());
        let disk = Dying::after(u64::MAX);
        let (spool, journal) = open_on(dir.path(), Arc::clone(&disk) as Arc<_>).await;
        has_all(&spool);
        disk.0.store(steps, Ordering::Relaxed);
        let done = LettingGo::default().look(&spool, &journal, &clock).await;
        let is_over = disk.0.load(Ordering::Relaxed) > 0;
        was_said_again += u32::from(done.is_err() && journal.said().0 > oldest);
        drop((spool, journal));

        let (spool, journal) = open(dir.path()).await;
        assert_eq!(told(&journal), state, "{what}");
        assert!(is_audit_sound(&spool).await >= audited, "{what}");
        // Nobody vouched for anything in this life: nothing goes. Then somebody does.
        let here = spool.journal().oldest();
        spool.audit_log().need("lake", 0, String::new());
        LettingGo::default().look(&spool, &journal, &clock).await.unwrap();
        assert_eq!(spool.journal().oldest(), here, "{what}");
        has_all(&spool);
        for _ in 0..2 {
            LettingGo::default().look(&spool, &journal, &clock).await.unwrap();
        }
        assert_eq!(told(&journal), state, "{what}");
        assert!(spool.journal().oldest() > oldest, "{what}");
        drop((spool, journal));
        let (spool, journal) = open(dir.path()).await;
        assert_eq!(told(&journal), state, "{what}, and opened once more");
        is_audit_sound(&spool).await;
        if is_over {
            done.unwrap();
            break;
        }
        steps += 1;
    }
    assert!(steps > 30 && was_said_again > 0, "{steps} {was_said_again}");
}

#[tokio::test]
async fn a_full_journal_refuses_and_makes_room_by_itself_when_who_was_away_is_there() {
    let dir = tempdir();
    let clock = TestClock::default();
    let (spool, journal) = open(dir.path()).await;
    said_once(&journal).await;
    spool.audit_log().need("lake", 0, String::new());
    let mut letting_go = LettingGo::default();
    let mut round = 0;
    let refused = loop {
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        if let Err(error) = change(&spool, &journal, round).await {
            break error;
        }
        round += 1;
        assert!(round < 1_000);
    };
    // A refused change is not half there; what is asked is what was said last, now and after a kill.
    let state = told(&journal);
    assert!(matches!(refused, Error::Spool(spool::Error::Full { .. }) | Error::Audit(_)), "{refused}");
    spool.audit().record(&event("no room")).unwrap_err();
    assert!(matches!(spool.journal().admit(), Err(spool::Error::Full { log: "journal" })));
    assert_eq!((spool.journal().oldest(), spool.journal().stat().room.percent()), (1, 100));
    letting_go.look(&spool, &journal, &clock).await.unwrap();
    drop((spool, journal));
    // It dies at each step of its way out, twice, and finds it all the same.
    let (full, mut steps) = (dir, 0);
    loop {
        let dir = tempdir();
        copy(full.path(), dir.path());
        let mut is_over = false;
        for steps in [steps, steps, u64::MAX] {
            let disk = Dying::after(u64::MAX);
            let (spool, journal) = open_on(dir.path(), Arc::clone(&disk) as Arc<_>).await;
            assert_eq!(told(&journal), state, "{steps}");
            has_all(&spool);
            disk.0.store(steps, Ordering::Relaxed);
            let done = LettingGo::default().look(&spool, &journal, &clock).await;
            assert!(spool.journal().stat().bytes <= BYTES_MAX, "{steps}");
            is_over = disk.0.load(Ordering::Relaxed) > 0;
            if is_over {
                done.unwrap();
                disk.0.store(u64::MAX, Ordering::Relaxed);
                assert!(spool.journal().oldest() > 1);
                spool.audit().record(&event("room")).unwrap();
                spool.journal().admit().unwrap();
                is_audit_sound(&spool).await;
                assert_eq!(told(&journal), state);
            }
            if is_over && steps < u64::MAX {
                assert!(steps > 30, "{steps}");
                return;
            }
        }
        assert!(is_over);
        steps += 1;
    }
}

#[tokio::test]
async fn what_somebody_needs_stays_and_so_does_what_nobody_vouches_for_or_understands() {
    let dir = tempdir();
    let clock = TestClock::default();
    let (spool, journal) = open(dir.path()).await;
    let mut letting_go = LettingGo::default();
    spool.audit_log().need("lake", 0, String::new());
    has_all(&spool);
    spool.audit_log().need("the syslog server", 40, String::new());
    let mut round = 0;
    while spool.journal().stat().bytes + SEGMENT_BYTES < BUDGET_BYTES {
        change(&spool, &journal, round).await.unwrap();
        has_all(&spool);
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        round += 1;
    }
    assert!(spool.journal().oldest() <= 41, "{}", spool.journal().oldest());
    // Where nobody is to have it, only age lets it go.
    spool.audit_log().need_no_more("the syslog server");
    spool.audit_log().need_no_more("lake");
    let here = spool.journal().oldest();
    letting_go.look(&spool, &journal, &clock).await.unwrap();
    assert_eq!(spool.journal().oldest(), here);
    has_all(&spool);
    letting_go.look(&spool, &journal, &clock).await.unwrap();
    assert!(spool.journal().oldest() > 41);
    is_audit_sound(&spool).await;
    // Something of a newer version is not understood, and stays.
    let unknown = spool.journal().append(b"\xa1\x63new\x01".to_vec(), &[]).await.unwrap();
    drop((spool, journal));
    let (spool, journal) = open(dir.path()).await;
    for round in 0..100 {
        has_all(&spool);
        if change(&spool, &journal, round).await.is_err() {
            break;
        }
        letting_go.look(&spool, &journal, &clock).await.unwrap();
    }
    assert!(spool.journal().oldest() <= unknown && spool.journal().admit().is_err());
}

#[tokio::test]
async fn what_is_old_enough_goes_and_no_step_of_the_clock_makes_it_old() {
    for is_vouched_for in [true, false] {
        let dir = tempdir();
        let clock = Told::default();
        let (spool, journal) = open(dir.path()).await;
        let mut letting_go = LettingGo::default();
        for round in 0..8 {
            change(&spool, &journal, round).await.unwrap();
        }
        if is_vouched_for {
            has_all(&spool);
        }
        assert!(spool.journal().stat().segments > 1);
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        // Ten years in one step count for an hour.
        clock.0.store(10 * 365 * 24 * 3600, Ordering::Relaxed);
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        assert_eq!(spool.journal().oldest(), 1);
        clock.0.fetch_add(3599, Ordering::Relaxed);
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        assert_eq!(spool.journal().oldest(), 1);
        clock.0.fetch_add(2, Ordering::Relaxed);
        letting_go.look(&spool, &journal, &clock).await.unwrap();
        assert!(spool.journal().oldest() > 1);
        assert!(announcements(&spool).await.last().unwrap().contains("they are old enough"));
        is_audit_sound(&spool).await;
        // The last entry of all stays, whatever becomes of the clock.
        for _ in 0..9 {
            clock.0.fetch_add(3600, Ordering::Relaxed);
            letting_go.look(&spool, &journal, &clock).await.unwrap();
        }
        assert!(is_audit_sound(&spool).await > spool.audit_log().freed().unwrap());
    }
}

#[tokio::test]
async fn a_witness_is_shown_proofs_across_it_and_one_that_was_set_back_is_no_finding() {
    let dir = tempfile::tempdir().unwrap();
    let landing = Landing::witness();
    let start = async || {
        let (feeds, routes) = (vec![feed("adt", None)], vec![route("lake", "treatment", &landing)]);
        TestBox::start_on(dir.path(), config(), feeds, routes, Outside::real()).await
    };
    let gateway = start().await;
    let spool = Arc::clone(&gateway.handle.spool);
    let witnessed = async |spool: &Spool| {
        let size = spool.audit_log().tip().unwrap().range.size();
        until("witnessed", || landing.checkpoints().last().is_some_and(|c| c.size >= size)).await;
    };
    witnessed(&spool).await;
    let early = landing.0.lock().unwrap().witnessed.clone().unwrap();
    let mut i = 0;
    let mut letting_go = LettingGo::default();
    while spool.journal().oldest() == 1 {
        spool.audit().record(&event(&i.to_string())).unwrap();
        i += 1;
        if i % 20 == 0 {
            witnessed(&spool).await;
            let (journal, clock) = (gateway.handle.journal(), TestClock::default());
            letting_go.look(&spool, journal, &clock).await.unwrap();
        }
        assert!(i < 10_000);
    }
    let freed = spool.audit_log().freed().unwrap();
    assert!(freed > early.len() as u64);
    // Proofs go on from the newest receipt.
    spool.audit().record(&event("one more")).unwrap();
    witnessed(&spool).await;
    assert!(landing.checkpoints().iter().all(|c| c.origin == landing.checkpoints()[0].origin));
    // A new origin begins, of which nobody has anything.
    let old = landing.checkpoints().pop().unwrap().origin;
    spool.journal().renew_incarnation().unwrap();
    drop(spool);
    gateway.stop().await;
    let gateway = start().await;
    until("a new origin", || landing.checkpoints().last().is_some_and(|c| c.origin != old)).await;
    witnessed(gateway.handle.spool()).await;
    gateway.stop().await;
    // The landing is set back to receipts of what is freed here: nothing can be compared, and nothing is found.
    let old = landing.checkpoints().pop().unwrap().origin;
    landing.0.lock().unwrap().witnessed = Some(early);
    let gateway = start().await;
    witnessed(gateway.handle.spool()).await;
    assert!(set_backs(&gateway).await.is_empty(), "{:?}", set_backs(&gateway).await);
    let newest = landing.checkpoints().pop().unwrap();
    assert!(newest.size > freed && newest.origin == old, "{newest:?}");
    let said = announcements(gateway.handle.spool()).await;
    assert!(said.last().unwrap().contains("they cannot be compared"), "{said:?}");
    is_audit_sound(gateway.handle.spool()).await;
    gateway.stop().await;
}
