//! What the two endpoints have in common: the signed inbox and the outcome feed.
