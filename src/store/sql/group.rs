//! Commits in groups. One task writes: it takes what is waiting, never waits for more, and enters all of it in one
//! transaction under one signed checkpoint. Nobody is answered before that transaction is surely on the disk.
//!
//! What an engine does its own way is its [`Pen`].

use super::commit::{documents, insert_job, insert_notice, store_head, store_nodes, store_segment};
use super::ledger::sign;
use super::pen::{Became, Pen};
use super::rows::corrupt;
use super::{Connection, Database, SqlStore};
use crate::causes::chain;
use crate::clock::{Clock, Time};
use crate::domain::transition::Transition;
use crate::ledger::{Frontier, Prepared};
use crate::store::contract::{Committed, StoreError};
use crate::store::seal::{self, seal_beside};
use crate::store::signing::Signers;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// How many transitions one transaction takes at most.
const MOST: usize = 32;
/// How many wait for the writer; more wait for room among them.
const WAITING: usize = 64;
/// How often a group is written that surely did not come to be because its connection was lost.
const TRIES: u32 = 3;

/// A transition that waits to be written.
#[derive(Debug)]
pub(in crate::store) struct Member {
    transition: Transition,
    sealed: Option<Prepared>,
    now: Time,
    answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// The way to the task that writes, and its other end.
pub(in crate::store) fn commits() -> (mpsc::Sender<Member>, mpsc::Receiver<Member>) {
    mpsc::channel(WAITING)
}

/// The task that writes.
pub(in crate::store) struct Writer<P: Pen> {
    pub(in crate::store) pen: P,
    pub(in crate::store) on: Arc<Mutex<P::On>>,
    pub(in crate::store) clock: Arc<dyn Clock>,
    pub(in crate::store) signers: Signers,
    /// Whether the connection is one that nothing can be done with.
    pub(in crate::store) is_lost: bool,
}

/// What a transition came to inside the transaction.
struct Entered {
    first: Option<u64>,
    entries: u64,
    repeats: u64,
    frontier: Frontier,
}

type Done = Result<Committed, StoreError>;

/// Why a transaction was not written.
enum Failed<M> {
    /// Before its end: nothing of it is.
    Within(StoreError),
    /// At its end: whether it is, is known only by looking. `all` is what it came to, if it is.
    AtTheEnd {
        error: StoreError,
        mark: M,
        all: Vec<Done>,
    },
}

impl<D: Database> SqlStore<D> {
    /// Has the transition written by the task behind `commits`.
    pub(in crate::store) async fn have_written(
        &self,
        commits: &mpsc::Sender<Member>,
        transition: Transition,
    ) -> Done {
        let now = self.clock.now();
        let (transition, sealed) = seal_beside(transition, now).await;
        let (answer, answered) = oneshot::channel();
        let member = Member {
            transition,
            sealed: sealed?,
            now,
            answer,
        };
        if commits.send(member).await.is_err() {
            return Err(gone());
        }
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl<P: Pen> Writer<P> {
    /// Writes what comes, until nobody can send any more.
    pub(in crate::store) async fn run(mut self, mut waiting: mpsc::Receiver<Member>) {
        let connection = Arc::clone(&self.on);
        while let Some(first) = waiting.recv().await {
            let mut on = connection.lock().await;
            let mut group = vec![first];
            while group.len() < MOST
                && let Ok(next) = waiting.try_recv()
            {
                group.push(next);
            }
            let written = AssertUnwindSafe(self.write(&mut on, group));
            if written.catch_unwind().await.is_err() {
                // Those of the group learn it by their answer's end. What the panic left behind goes with
                // the connection.
                let _ = self.renewed(&mut on).await;
            }
        }
    }

    async fn write(&mut self, on: &mut P::On, mut group: Vec<Member>) {
        if let Err(halted) = self.pen.holds() {
            let all: Vec<_> = group.iter().map(|_| Err(again(&halted))).collect();
            return answer(group, all);
        }
        let (error, may_part) = match self.settled(on, &mut group).await {
            Ok(done) => return answer(group, done),
            Err(Failed::Within(error)) => (error, true),
            // Whether it is kept is not known, for none of them.
            Err(Failed::AtTheEnd { error, .. }) => (error, false),
        };
        if group.len() == 1 {
            return answer(group, [Err(error)]);
        }
        if !may_part || self.is_lost {
            let all: Vec<_> = group.iter().map(|_| Err(again(&error))).collect();
            return answer(group, all);
        }
        // One of them failed so that the transaction is gone: each is written alone, and only that one fails.
        tracing::warn!(error = %chain(&error), "a group of commits is written one by one");
        for mut member in group {
            if self.is_lost {
                // Each of them would wait for the server as long as the one before.
                answer(vec![member], [Err(again(&error))]);
                continue;
            }
            let alone = self.settled(on, std::slice::from_mut(&mut member)).await;
            let done = match alone {
                Ok(mut done) => done.pop().unwrap_or_else(|| Err(gone())),
                Err(Failed::Within(error) | Failed::AtTheEnd { error, .. }) => Err(error),
            };
            answer(vec![member], [done]);
        }
    }

    /// What each of `group` came to. Where the end of the transaction was not heard, it is found out; what surely did
    /// not come to be, though nothing was wrong with it, is written again.
    async fn settled(&mut self, on: &mut P::On, group: &mut [Member]) -> Result<Vec<Done>, Failed<P::Mark>> {
        let mut tries = 1;
        loop {
            let failed = match self.transact(on, group).await {
                Ok(all) => return Ok(all),
                Err(failed) => failed,
            };
            let _ = self.renewed(on).await;
            match failed {
                Failed::Within(error) => {
                    if self.is_lost || tries >= TRIES || !self.pen.is_cut(&error) {
                        return Err(Failed::Within(error));
                    }
                    tracing::warn!(error = %chain(&error), "a commit was cut before its end, and is written again");
                }
                Failed::AtTheEnd { error, mark, all } => {
                    let became = self.pen.became(on, &mark).await;
                    self.is_lost = became == Became::Unknown;
                    match became {
                        Became::There => {
                            tracing::warn!(error = %chain(&error), "the end of a commit was not heard; it is kept");
                            return Ok(all);
                        }
                        Became::NotThere if tries < TRIES => {
                            tracing::warn!(error = %chain(&error), "the end of a commit was not heard; it is not kept, and written again");
                        }
                        Became::NotThere => return Err(Failed::Within(error)),
                        Became::Unknown => return Err(Failed::AtTheEnd { error, mark, all }),
                    }
                }
            }
            tries += 1;
        }
    }

    /// What each of `group` came to, in one transaction. A refused one leaves nothing behind, and the others stand.
    async fn transact(&mut self, on: &mut P::On, group: &mut [Member]) -> Result<Vec<Done>, Failed<P::Mark>> {
        self.begin(on).await?;
        let (mut frontier, mut checkpoint) = self.pen.head(on).await.map_err(Failed::Within)?;
        let mark = self
            .pen
            .mark(on, self.clock.now())
            .await
            .map_err(Failed::Within)?;
        let before = frontier.size();
        let alone = group.len() == 1;
        let mut all = Vec::with_capacity(group.len());
        for member in &mut *group {
            let sealed = member.sealed.take();
            if !alone {
                say(on, "SAVEPOINT member").await?;
            }
            let entered = self.enter(on, member, sealed, frontier.clone()).await;
            let close = match &entered {
                Ok(_) => "RELEASE SAVEPOINT member",
                Err(_) => "ROLLBACK TO SAVEPOINT member",
            };
            match entered {
                Err(error @ StoreError::Database { .. }) => return Err(Failed::Within(error)),
                Ok(entered) => {
                    frontier = entered.frontier.clone();
                    all.push(Ok(entered));
                }
                Err(refused) => all.push(Err(refused)),
            }
            if !alone {
                say(on, close).await?;
            }
        }
        if all.iter().all(Result::is_err) {
            say(on, "ROLLBACK").await?;
            return Ok(all
                .into_iter()
                .map(|one| one.map(|entered| entered.committed("")))
                .collect());
        }
        if frontier.size() > before {
            checkpoint = sign(&self.signers, &frontier).await.map_err(Failed::Within)?;
            let stored = store_head(on, &frontier, &checkpoint, self.clock.now()).await;
            stored.map_err(Failed::Within)?;
        }
        let all = all
            .into_iter()
            .map(|one| one.map(|entered| entered.committed(&checkpoint)))
            .collect();
        let ended = on.say("COMMIT").await;
        self.pen.heed(&ended);
        match ended {
            Ok(()) => Ok(all),
            Err(source) => {
                let error = StoreError::Database {
                    doing: "committing",
                    source,
                };
                Err(Failed::AtTheEnd { error, mark, all })
            }
        }
    }

    /// Begins a transaction; on a connection that was lost while nobody used it, on a new one.
    async fn begin(&mut self, on: &mut P::On) -> Result<(), Failed<P::Mark>> {
        self.pen.holds().map_err(Failed::Within)?;
        if !self.is_lost && on.say(P::BEGIN).await.is_ok() {
            return Ok(());
        }
        self.renewed(on).await.map_err(Failed::Within)?;
        say(on, P::BEGIN).await
    }

    /// Writes everything of a transition but the ledger's head, which is written once for all of a group.
    /// `sealed` are its entries with none of them dropped.
    async fn enter(
        &self,
        on: &mut P::On,
        member: &Member,
        sealed: Option<Prepared>,
        mut frontier: Frontier,
    ) -> Result<Entered, StoreError> {
        let (transition, now) = (&member.transition, member.now);
        for write in &transition.writes {
            documents::apply(on, write, now).await?;
        }
        let fresh = P::unseen(on, &transition.records, now).await?;
        let repeats = fresh.iter().filter(|fresh| !**fresh).count() as u64;
        if repeats == fresh.len() as u64 && !seal::moves(transition).is_empty() {
            return Err(corrupt("a transition")(
                "every record of it was entered before".to_owned(),
            ));
        }
        let prepared = match sealed {
            Some(sealed) if repeats == 0 => Some(sealed),
            _ => seal::seal(transition, &fresh, now)?,
        };
        let (mut first, mut entries) = (None, 0);
        if let Some(prepared) = prepared {
            let segment = prepared.place(&mut frontier);
            let at = segment.first;
            (first, entries) = (Some(at), segment.leaves.len() as u64);
            store_nodes(on, &segment.nodes).await?;
            store_segment(on, segment).await?;
            let records = transition.records.iter().zip(&fresh);
            let entered = records.filter(|(_, fresh)| **fresh).map(|(record, _)| record);
            P::index(on, at, &entered.collect::<Vec<_>>(), now).await?;
        }
        for notice in &transition.notices {
            insert_notice(on, notice, now).await?;
        }
        for job in &transition.jobs {
            insert_job(on, job).await?;
        }
        Ok(Entered {
            first,
            entries,
            repeats,
            frontier,
        })
    }

    async fn renewed(&mut self, on: &mut P::On) -> Result<(), StoreError> {
        let renewed = self.pen.renew(on).await;
        self.is_lost = renewed.is_err();
        if let Err(error) = &renewed {
            tracing::error!(error = %chain(error), "the store cannot be opened again for writing");
        }
        renewed
    }
}

impl Entered {
    fn committed(self, checkpoint: &str) -> Committed {
        Committed {
            first: self.first,
            entries: self.entries,
            repeats: self.repeats,
            checkpoint: checkpoint.to_owned(),
        }
    }
}

async fn say<M>(on: &mut impl Connection, statement: &'static str) -> Result<(), Failed<M>> {
    on.say(statement).await.map_err(|source| {
        Failed::Within(StoreError::Database {
            doing: "writing a commit",
            source,
        })
    })
}

/// Who went away meanwhile finds by reading again what became of it.
fn answer(group: Vec<Member>, done: impl IntoIterator<Item = Done>) {
    for (member, done) in group.into_iter().zip(done) {
        let _ = member.answer.send(done);
    }
}

/// The same failure for another one of the group.
fn again(error: &StoreError) -> StoreError {
    let why = match error {
        StoreError::Database { source, .. } => source.to_string(),
        other => chain(other),
    };
    StoreError::Database {
        doing: "committing",
        source: sqlx::Error::Io(std::io::Error::other(why)),
    }
}

fn gone() -> StoreError {
    StoreError::Database {
        doing: "committing",
        source: sqlx::Error::WorkerCrashed,
    }
}
