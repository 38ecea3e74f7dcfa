//! The adapter to the forge, where pull requests live.
