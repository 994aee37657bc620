//! The claude-endpoint: reads the diff, asks the reviewer, posts the review.
