//! Commits in groups. One task writes: it takes what is waiting, never waits for more, and enters all of it in one
//! transaction under one signed checkpoint. Nobody is answered before that transaction is on the disk.

use super::SqliteStore;
use super::commit::{Entered, enter};
use super::trust::Trust;
use crate::causes::chain;
use crate::clock::{Clock, Time};
use crate::domain::transition::Transition;
use crate::ledger::{Frontier, Prepared};
use crate::store::contract::{Committed, StoreError};
use crate::store::seal::seal_beside;
use crate::store::signing::Signers;
use crate::store::sql::commit::store_head;
use crate::store::sql::ledger::{HEAD, edge, sign};
use crate::store::sql::rows::{corrupt, database};
use crate::store::sql::{Connection as _, sql};
use futures::FutureExt;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// How many transitions one transaction takes at most.
const MOST: usize = 32;
/// How many wait for the writer; more wait for room among them.
pub(super) const WAITING: usize = 64;

/// A transition that waits to be written.
#[derive(Debug)]
pub(super) struct Member {
    transition: Transition,
    sealed: Option<Prepared>,
    now: Time,
    answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// What the task writes with.
#[derive(Debug)]
struct Writer {
    connection: Arc<Mutex<SqliteConnection>>,
    options: SqliteConnectOptions,
    clock: Arc<dyn Clock>,
    signers: Signers,
    trust: Arc<Trust>,
    /// The file is nobody else's until the last group is written.
    _lock: Arc<std::fs::File>,
}

impl SqliteStore {
    /// Begins the task that commits; it ends with the store.
    pub(super) fn begin_to_write(&self, waiting: mpsc::Receiver<Member>) {
        let writer = Writer {
            connection: Arc::clone(&self.database.writer),
            options: self.database.options.clone(),
            clock: Arc::clone(&self.clock),
            signers: self.signers.clone(),
            trust: Arc::clone(&self.database.trust),
            _lock: Arc::clone(&self.database.lock),
        };
        tokio::spawn(writer.run(waiting));
    }

    pub(super) async fn write(&self, transition: Transition) -> Result<Committed, StoreError> {
        let now = self.clock.now();
        let (transition, sealed) = seal_beside(transition, now).await;
        let (answer, answered) = oneshot::channel();
        let member = Member {
            transition,
            sealed: sealed?,
            now,
            answer,
        };
        if self.database.commits.send(member).await.is_err() {
            return Err(gone());
        }
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Writer {
    /// Writes what comes, until nobody can send any more.
    async fn run(self, mut commits: mpsc::Receiver<Member>) {
        while let Some(first) = commits.recv().await {
            let mut connection = self.connection.lock().await;
            let mut group = vec![first];
            while group.len() < MOST
                && let Ok(next) = commits.try_recv()
            {
                group.push(next);
            }
            let written = AssertUnwindSafe(self.write(&mut connection, group));
            if written.catch_unwind().await.is_err() {
                // Those of the group learn it by their answer's end. What the panic left behind goes with
                // the connection.
                self.renew(&mut connection).await;
            }
        }
    }

    async fn write(&self, connection: &mut SqliteConnection, mut group: Vec<Member>) {
        if self.trust.halted().is_some() {
            let refused = || {
                Err(self
                    .trust
                    .holds()
                    .map_or_else(database("committing"), |()| gone()))
            };
            let all: Vec<_> = group.iter().map(|_| refused()).collect();
            return answer(group, all);
        }
        match self.transact(connection, &mut group).await {
            Ok(done) => answer(group, done),
            Err(Failed::Within(error)) if group.len() == 1 => {
                self.renew(connection).await;
                answer(group, [Err(error)]);
            }
            // One of them failed so that the transaction is gone: each is written alone, and only that one fails.
            Err(Failed::Within(error)) => {
                tracing::warn!(error = %chain(&error), "a group of commits is written one by one");
                self.renew(connection).await;
                for mut member in group {
                    let alone = self.transact(connection, std::slice::from_mut(&mut member)).await;
                    let done = match alone {
                        Ok(mut done) => done.pop().unwrap_or_else(|| Err(gone())),
                        Err(Failed::Within(error) | Failed::AtTheEnd(error)) => {
                            self.renew(connection).await;
                            Err(error)
                        }
                    };
                    answer(vec![member], [done]);
                }
            }
            // Whether it is on the disk is not known, for none of them.
            Err(Failed::AtTheEnd(error)) if group.len() == 1 => {
                self.renew(connection).await;
                answer(group, [Err(error)]);
            }
            Err(Failed::AtTheEnd(error)) => {
                self.renew(connection).await;
                let all: Vec<_> = group.iter().map(|_| Err(again(&error))).collect();
                answer(group, all);
            }
        }
    }

    /// What each of `group` came to, in one transaction. A refused one leaves nothing behind, and the others stand.
    async fn transact(
        &self,
        connection: &mut SqliteConnection,
        group: &mut [Member],
    ) -> Result<Vec<Result<Committed, StoreError>>, Failed> {
        self.trust.holds().map_err(within("committing"))?;
        let begun = connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(within("beginning a commit"))?;
        let (mut frontier, mut checkpoint) = head(&mut transaction).await.map_err(Failed::Within)?;
        let before = frontier.size();
        let alone = group.len() == 1;
        let mut all = Vec::with_capacity(group.len());
        for member in &mut *group {
            let sealed = member.sealed.take();
            let (transition, now) = (&member.transition, member.now);
            let entered = if alone {
                enter(&mut transaction, transition, sealed, now, frontier.clone()).await
            } else {
                let mut own = transaction.begin().await.map_err(within("beginning a commit"))?;
                let entered = enter(&mut own, transition, sealed, now, frontier.clone()).await;
                let closed = if entered.is_ok() {
                    own.commit().await
                } else {
                    own.rollback().await
                };
                closed.map_err(within("closing a commit")).and(Ok(entered))?
            };
            match entered {
                Ok(entered) => {
                    frontier = entered.frontier.clone();
                    all.push(Ok(entered));
                }
                Err(error @ StoreError::Database { .. }) => return Err(Failed::Within(error)),
                Err(refused) => all.push(Err(refused)),
            }
        }
        if all.iter().all(Result::is_err) {
            transaction
                .rollback()
                .await
                .map_err(within("taking a commit back"))?;
        } else {
            if frontier.size() > before {
                checkpoint = sign(&self.signers, &frontier).await.map_err(Failed::Within)?;
                let now = self.clock.now();
                let stored = store_head(&mut *transaction, &frontier, &checkpoint, now).await;
                stored.map_err(Failed::Within)?;
            }
            let committed = transaction.commit().await;
            self.trust.heed(&committed);
            let committed = committed.map_err(database("committing"));
            committed.map_err(Failed::AtTheEnd)?;
        }
        let committed = |entered: Entered| Committed {
            first: entered.first,
            entries: entered.entries,
            repeats: entered.repeats,
            checkpoint: checkpoint.clone(),
        };
        Ok(all.into_iter().map(|one| one.map(committed)).collect())
    }

    /// SQLite takes back a transaction by itself when the disk is full or fails, and the driver then waits for the
    /// end of one that is none any more: every later write would fail, also when there is room again.
    async fn renew(&self, connection: &mut SqliteConnection) {
        super::writer::renew(&self.options, connection).await;
    }
}

/// Why a transaction was not written.
enum Failed {
    /// Before its end: nothing of it is.
    Within(StoreError),
    /// At its end: whether it is, is known only by reading again.
    AtTheEnd(StoreError),
}

fn within(doing: &'static str) -> impl Fn(sqlx::Error) -> Failed {
    move |source| Failed::Within(StoreError::Database { doing, source })
}

/// Who went away meanwhile finds by reading again what became of it.
fn answer(group: Vec<Member>, done: impl IntoIterator<Item = Result<Committed, StoreError>>) {
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

async fn head(connection: &mut SqliteConnection) -> Result<(Frontier, String), StoreError> {
    let rows = connection.rows(sql(HEAD)).await;
    let rows = rows.map_err(database("reading the ledger's head"))?;
    let row = rows
        .first()
        .ok_or_else(|| corrupt("a ledger")("its head is gone".to_owned()))?;
    edge(row, 0)
}

fn gone() -> StoreError {
    StoreError::Database {
        doing: "committing",
        source: sqlx::Error::WorkerCrashed,
    }
}
