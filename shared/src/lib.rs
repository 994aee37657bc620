//! What crosses a process boundary, and how a service is run.
