//! Connections that are kept between messages, by deadpool.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use smtp_driver::{Error, Options};
use smtp_proto::{CloseReason, Report, Transaction, UsageError};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::client::{Client, Duplex};
use crate::transport::Transport;

/// How long an idle connection may take to prove that it is alive, before another one is made.
const PROOF: Duration = Duration::from_secs(10);

/// Connections to one server, all made by the same options and kept between messages.
///
/// There is no key by which connections could be mixed up: a pool is for one host and port, one way to TLS with one
/// configuration of it, one set of credentials and one name to say hello with. Whoever needs two of anything needs two
/// pools. Clones are the same pool.
///
/// A connection is handed out again only if nothing was left unfinished on it, the session is as the options made it, and
/// the server has just answered RSET. Others are closed: so is one on which somebody said hello or a command of their own,
/// set a transcript, or reached for the protocol machine.
///
/// ```no_run
/// # async fn send(messages: Vec<(smtp_proto::Transaction, Vec<u8>)>) -> Result<(), smtp_tokio::Error> {
/// use smtp_tokio::{Options, Pool};
///
/// let pool = Pool::new("mail.example.org:587", Options::smtp(), 4)?;
/// for (transaction, message) in messages {
///     pool.send(transaction, message.as_slice()).await?;
/// }
/// pool.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Pool<S: Duplex + Send + 'static = Transport> {
    pool: managed::Pool<Manager<S>, Pooled<S>>,
}

impl Pool {
    /// A pool of at most `size` connections over TCP, at least one, made by [`Client::connect`].
    ///
    /// # Errors
    ///
    /// [`Error`] when no connection could ever be made: `target` is none, or a key does not fit its certificate.
    pub fn new(target: &str, options: Options, size: usize) -> Result<Self, Error> {
        options.clone().plan(target)?;
        let target = target.to_owned();
        Self::by(size, move || {
            let (target, options) = (target.clone(), options.clone());
            async move { Client::connect(&target, options).await }
        })
    }
}

impl<S: Duplex + Send + 'static> Pool<S> {
    /// A pool of at most `size` connections, at least one, made by `connect`: over Unix sockets, or by another TLS. It has to
    /// make all of them alike.
    ///
    /// # Errors
    ///
    /// [`Error`] when deadpool makes no pool of that, which it has no reason for.
    pub fn by<F>(size: usize, connect: impl Fn() -> F + Send + Sync + 'static) -> Result<Self, Error>
    where
        F: Future<Output = Result<Client<S>, Error>> + Send + 'static,
    {
        let manager = Manager { connect: Box::new(move || Box::pin(connect())), silent: Mutex::new(None) };
        let pool = managed::Pool::builder(manager).max_size(size.max(1)).build().map_err(of_the_pool)?;
        Ok(Self { pool })
    }

    /// A connection of one's own until it is dropped. Waits for one to come back while all are out.
    ///
    /// # Errors
    ///
    /// [`Error`] when none is idle and none can be made.
    pub async fn get(&self) -> Result<Pooled<S>, Error> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Closed => UsageError::Closed.into(),
            // There are no other hooks and limits than the driver's own.
            other => of_the_pool(other),
        })
    }

    /// Sends one message over a connection of the pool's: see [`Client::send`].
    ///
    /// If a connection that had been idle turns out to be over before a part of the message was read, the message is sent
    /// over another one, once: the server cannot have got it. Then only what became of that is told.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`get`](Self::get) and [`Client::send`].
    pub async fn send(&self, transaction: Transaction, message: impl AsyncBufRead + Unpin) -> Result<Report, Error> {
        let mut message = Watched { message, read: false };
        let mut client = self.get().await?;
        let result = client.send(transaction.clone(), &mut message).await;
        let left =
            matches!(client.connection().close_reason(), Some(CloseReason::Eof | CloseReason::ServerShutdown(_)));
        match result {
            Err(_) if left && client.was_idle() && !message.read => {
                drop(client);
                self.get().await?.send(transaction, message).await
            }
            result => result,
        }
    }

    /// Closes connections that have been idle for so long, with QUIT. While they wait for its answer they do not count any
    /// more. Servers end idle connections after some minutes by themselves; that is noticed in any case.
    pub async fn close_idle(&self, idle: Duration) {
        let removed = self.pool.retain(|kept, _| kept.since.elapsed() < idle).removed;
        take_leave(removed).await;
    }

    /// Closes the pool, and idle connections with QUIT. Those that are out are closed when they come back.
    pub async fn close(&self) {
        let removed = self.pool.retain(|_, _| false).removed;
        self.pool.close();
        take_leave(removed).await;
    }
}

async fn take_leave<S: Duplex + Send + 'static>(connections: Vec<Kept<S>>) {
    let mut farewells = JoinSet::new();
    for kept in connections {
        // However the server takes it.
        farewells.spawn(kept.client.quit());
    }
    while farewells.join_next().await.is_some() {}
}

impl<S: Duplex + Send + 'static> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone() }
    }
}

impl<S: Duplex + Send + 'static> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.pool.status()).finish()
    }
}

fn of_the_pool(error: impl fmt::Display) -> Error {
    Error::Connect { target: "the server of a pool".into(), error: io::Error::other(error.to_string()) }
}

type Connecting<S> = Pin<Box<dyn Future<Output = Result<Client<S>, Error>> + Send>>;

/// A connection, and when it was last used.
struct Kept<S> {
    client: Client<S>,
    since: Instant,
}

/// What deadpool asks to make connections, and whether one is still good.
struct Manager<S> {
    connect: Box<dyn Fn() -> Connecting<S> + Send + Sync>,
    /// Since when the connection that last did not answer had been idle. Whatever made it silent, as a router that has
    /// forgotten it, has made silent those that were idle for longer.
    silent: Mutex<Option<Instant>>,
}

impl<S: Duplex + Send + 'static> managed::Manager for Manager<S> {
    type Type = Kept<S>;
    type Error = Error;

    async fn create(&self) -> Result<Kept<S>, Error> {
        Ok(Kept { client: (self.connect)().await?, since: Instant::now() })
    }

    async fn recycle(&self, kept: &mut Kept<S>, _: &Metrics) -> RecycleResult<Error> {
        let over = || Err(RecycleError::message("the connection is over"));
        let silent = *self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.client.is_reusable() || silent.is_some_and(|silent| kept.since <= silent) {
            return over();
        }
        match timeout(PROOF, kept.client.reset()).await {
            Ok(Ok(_)) if kept.client.is_reusable() => Ok(()),
            Ok(_) => over(),
            Err(_) => {
                *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept.since);
                over()
            }
        }
    }
}

/// A connection of a [`Pool`]. Dropping it gives it back, or closes it if it cannot be used again.
pub struct Pooled<S: Duplex + Send + 'static = Transport> {
    object: Object<Manager<S>>,
    // Behind the object, so that it is dropped when that has gone back.
    sweep: Sweep<S>,
}

impl<S: Duplex + Send + 'static> Pooled<S> {
    /// Whether it was used before, and has been idle since.
    pub fn was_idle(&self) -> bool {
        Object::metrics(&self.object).recycle_count > 0
    }
}

impl<S: Duplex + Send + 'static> From<Object<Manager<S>>> for Pooled<S> {
    fn from(object: Object<Manager<S>>) -> Self {
        Self { object, sweep: Sweep(None) }
    }
}

impl<S: Duplex + Send + 'static> Deref for Pooled<S> {
    type Target = Client<S>;

    fn deref(&self) -> &Client<S> {
        &self.object.client
    }
}

impl<S: Duplex + Send + 'static> DerefMut for Pooled<S> {
    fn deref_mut(&mut self) -> &mut Client<S> {
        &mut self.object.client
    }
}

impl<S: Duplex + Send + 'static> Drop for Pooled<S> {
    fn drop(&mut self) {
        self.object.since = Instant::now();
        if !self.is_reusable() {
            self.sweep.0 = Object::pool(&self.object);
        }
    }
}

impl<S: Duplex + Send + 'static> fmt::Debug for Pooled<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}

/// Takes connections that cannot be used again out of the pool that they have gone back to. A server whose message was cut off
/// should not have to wait until somebody else wants a connection.
struct Sweep<S: Duplex + Send + 'static>(Option<managed::Pool<Manager<S>>>);

impl<S: Duplex + Send + 'static> Drop for Sweep<S> {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            drop(pool.retain(|kept, _| kept.client.is_reusable()));
        }
    }
}

/// A message, and whether any of it was read.
struct Watched<R> {
    message: R,
    read: bool,
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.read = true;
        Pin::new(&mut self.message).poll_read(cx, buffer)
    }
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Watched<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        this.read = true;
        Pin::new(&mut this.message).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, length: usize) {
        Pin::new(&mut self.message).consume(length);
    }
}
