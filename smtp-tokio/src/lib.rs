//! The place of the Tokio driver. It holds nothing yet: use [`smtp_proto`] in a loop of your own, or `smtp-blocking`.
