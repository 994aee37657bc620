//! The relay: GitHub's webhook made durable and handed home.
