//! What the allocator does with memory: giving it back to the host after something large was built and
//! thrown away, and how many threads have a part of it for themselves. When is decided above.

/// The allocator keeps what was freed in case it is asked for again; after a load of many files that is
/// megabytes which a resting daemon would hold for ever.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called by any thread at any time.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// All threads share one part of the memory. Each new thread otherwise gets one of its own, which costs more
/// than a short answer does.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and is called before there are other threads.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}
