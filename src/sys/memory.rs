//! Gives memory back to the host after something large was built and thrown away. When is decided above.

/// The allocator keeps what was freed in case it is asked for again; after a load of many files that is
/// megabytes which a resting daemon would hold for ever.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called by any thread at any time.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
