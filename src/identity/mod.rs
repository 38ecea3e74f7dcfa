//! The adapter to the sign-in provider.
