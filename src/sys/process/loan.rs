//! A child that has our memory on loan until it calls exec or ends, as vfork(2) has it; we sleep so long. To
//! copy what is thrown away at once costs more than all else about starting a small program. It is born
//! into a control group, which no function of the C library offers.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd as _;

use nix::libc;

/// As the kernel has it; the library's own is too small a number for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// The child's stack, in words of sixteen bytes: system calls and little else.
const STACK: usize = (64 << 10) / size_of::<u128>();

struct Loan<F> {
    body: F,
    /// Of what kept it from becoming another program.
    error: Option<i32>,
}

/// Makes a child in the control group `group` (a directory) and runs `body` in it, which becomes another
/// program by exec or returns the number of the error that kept it from that. Gives the process id of the one
/// or the other; `None`: this kernel, this processor or a filter of system calls has no such birth.
///
/// `body` must make system calls only: nothing that allocates, locks or unwinds. Only for a process of one
/// thread.
pub(super) fn lend<F: Fn() -> i32>(group: &File, body: F) -> Option<Result<i32, i32>> {
    // Never read before it is written, so nobody has to fill it.
    let mut stack: Vec<u128> = Vec::with_capacity(STACK);
    let mut loan = Loan { body, error: None };
    let mut wish = libc::clone_args {
        flags: CLONE_INTO_CGROUP | u64::from((libc::CLONE_VM | libc::CLONE_VFORK).cast_unsigned()),
        exit_signal: u64::try_from(libc::SIGCHLD).ok()?,
        cgroup: u64::try_from(group.as_raw_fd()).ok()?,
        stack: stack.as_mut_ptr().expose_provenance() as u64,
        stack_size: (stack.capacity() * size_of::<u128>()) as u64,
        // SAFETY: a plain struct of numbers, of which none need to be anything but zero.
        ..unsafe { std::mem::zeroed() }
    };
    // SAFETY: the stack and the loan outlive the child's use of them, as this thread, the only one, sleeps
    // until the child has called exec or has ended; `live::<F>` never returns.
    let pid = unsafe { birth(&raw mut wish, live::<F>, (&raw mut loan).cast()) };
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    // SAFETY: as above; the child wrote it, which the compiler cannot know.
    match unsafe { (&raw const loan.error).read_volatile() } {
        None => Some(Ok(pid)),
        Some(number) => {
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
            Some(Err(number))
        }
    }
}

/// The child's whole life in our memory.
extern "C" fn live<F: Fn() -> i32>(loan: *mut c_void) -> ! {
    let loan: *mut Loan<F> = loan.cast();
    // SAFETY: `lend` gives the address of one that lives until we are gone, and uses it only then.
    unsafe {
        let number = ((*loan).body)();
        (&raw mut (*loan).error).write_volatile(Some(number));
        // Without running what is registered for the end of the process that lends.
        libc::_exit(127)
    }
}

/// clone3(2) with a stack of the child's own, on which it calls `live(with)`. What the system call gives: an
/// error's number is negative.
#[cfg(target_arch = "x86_64")]
unsafe fn birth(wish: *mut libc::clone_args, live: extern "C" fn(*mut c_void) -> !, with: *mut c_void) -> i64 {
    let mut result = libc::SYS_clone3;
    // SAFETY: the parent goes on behind `2:` with its own stack, its registers as they were; the child has the
    // stack that `wish` names, aligned to 16 bytes as the call wants it, and never comes back.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inout("rax") result,
            in("rdi") wish,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") live,
            in("r13") with,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Not written for this processor: the caller has a way without it.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn birth(_: *mut libc::clone_args, _: extern "C" fn(*mut c_void) -> !, _: *mut c_void) -> i64 {
    -i64::from(libc::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_group_nobody_is_born() {
        let none = File::open("/dev/null").unwrap();
        assert_eq!(lend(&none, || 0), None);
    }
}
