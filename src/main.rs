//! argv in, exit code out; nothing else.

fn main() -> std::process::ExitCode {
    shipbell::cli::main(std::env::args_os())
}
