//! Node unloads an addon with the last thread that loaded it. The runtimes have signal handlers and threads that
//! outlast this, so the addon stays.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target == "linux" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
