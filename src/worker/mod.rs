//! Periodic and poked loops over the jobs in the outbox.
