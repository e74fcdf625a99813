//! The binary. Everything is in the library.

fn main() -> std::process::ExitCode {
    tackroom::cli::main()
}
