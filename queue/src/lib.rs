//! The durable queue that stands between accepting an event and working on it.
