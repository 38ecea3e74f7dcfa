//! What the process gives up before it reads anything: it needs none of it.

/// No program it starts gains rights by a set-user-id file, and nobody reads a key from its memory or its core.
///
/// # Errors
/// The kernel does not take it away.
#[cfg(target_os = "linux")]
pub fn harden() -> Result<(), String> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    use rustix::thread::set_no_new_privs;

    let words = |what: &str, error: rustix::io::Errno| format!("{what} cannot be given up: {error}");
    // Both are inherited by every thread and child, so this comes before there are any.
    set_no_new_privs(true).map_err(|error| words("new privileges", error))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| words("core files", error))?;
    Ok(())
}

/// Elsewhere it is the service manager's work.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn harden() -> Result<(), String> {
    Ok(())
}
