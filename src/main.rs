//! argv in, exit code out; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    // Before any other parsing: a supervisor starts with every attempt, and starts fast.
    match arguments.as_slice() {
        [_, command, rest @ ..] if command == "supervise" => ExitCode::from(shipbell::run::main(rest)),
        _ => shipbell::cli::main(arguments),
    }
}
