# Shared by the scripts beside it: where things are, and clear failures.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Guest files live beside the build output, wherever that is, so that `cargo clean` removes them too.
guest=$root/target/guest

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }

# need COMMAND PACKAGE...: names a missing program and the command that installs it.
need() {
    local program=$1
    shift
    command -v "$program" >/dev/null 2>&1 || die "'$program' is missing; install it with: sudo apt-get install $*"
}

need_rust() {
    command -v cargo >/dev/null 2>&1 || die "Rust is missing; install it with: sudo apt-get install rustup && rustup default stable"
    command -v cc >/dev/null 2>&1 || die "a C linker is missing; install it with: sudo apt-get install gcc libc6-dev"
}
