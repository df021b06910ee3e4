//! Sends mail with Tokio: a thin driver around [`smtp_proto`], which holds all of the protocol.
//!
//! ```no_run
//! use smtp_proto::sasl::Credentials;
//! use smtp_proto::{ForwardPath, ReversePath, Transaction};
//! use smtp_tokio::{Client, Options};
//! use tokio::{fs::File, io::BufReader};
//!
//! # async fn send() -> Result<(), Box<dyn std::error::Error>> {
//! let credentials = Credentials::password("me@example.org", "secret")?;
//! let mut client = Client::connect("mail.example.org:587", Options::smtp().credentials(credentials)).await?;
//! let transaction = Transaction::new(ReversePath::parse("me@example.org")?).to(ForwardPath::parse("you@example.net")?);
//! let report = client.send(transaction, BufReader::new(File::open("mail.eml").await?)).await?;
//! for (recipient, outcome) in report.recipients() {
//!     println!("{recipient}: {outcome:?}");
//! }
//! client.quit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Cancellation
//!
//! Every future may be dropped at any await. What it had begun is then cut off: the next call on the client ends the
//! connection and says so, and nothing that was not yet complete is ever completed. A message is in doubt only if its last
//! octet had already left.

mod client;
mod connect;
mod messages;
#[cfg(feature = "pool")]
mod pool;
#[cfg(feature = "rustls")]
mod tls;
mod transport;

pub use client::{Client, Duplex};
pub use messages::SendAll;
#[cfg(feature = "pool")]
pub use pool::{Pool, Pooled};
pub use smtp_driver::{Error, Options, Transcript};
#[cfg(feature = "rustls")]
pub use smtp_driver::{Tls, rustls};
#[cfg(feature = "rustls")]
pub use tls::TlsStream;
pub use transport::Transport;
