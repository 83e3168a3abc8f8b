# shellcheck shell=bash
# What the scripts have in common. To be sourced by one that has set `root` to the project's directory.
: "${root:?}"

# A heading.
say() {
  printf '\n== %s\n' "$*"
}

# Ends the script: what is wrong, and what to do about it.
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

have() {
  command -v "$1" >/dev/null 2>&1
}

# Fails if a command takes longer than that many seconds, where the system can tell.
within() {
  if have timeout; then
    timeout "$@"
  else
    shift
    "$@"
  fi
}

# Runs a command as root: directly, or by sudo, which is asked for a password on a terminal only.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

can_install() {
  have apt-get || return 1
  [ "$(id -u)" -eq 0 ] && return 0
  have sudo || return 1
  [ -t 0 ] || sudo -n true 2>/dev/null
}

# install_packages WHY PACKAGE...: Debian packages, saying what is installed and why.
install_packages() {
  local why=$1
  shift
  if ! can_install; then
    die "$why is missing. On Debian or Ubuntu: apt-get install $* (as root). Elsewhere: what corresponds to it."
  fi
  say "Installing $why (Debian packages: $*)"
  # A list of packages that is merely old is good enough; one that cannot be had shows in the next step.
  as_root apt-get update -qq || true
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install: $*. Install $why by hand and start again."
}

# Python with the means to make a virtual environment.
python_suffices() {
  "${PYTHON:-python3}" - >/dev/null 2>&1 <<'END'
import sys
import ensurepip, venv
sys.exit(sys.version_info < (3, 9))
END
}

need_python() {
  python_suffices && return
  [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a Python of at least 3.9 with the modules venv and ensurepip"
  install_packages "Python 3.9 or newer with venv" python3 python3-venv
  python_suffices || die "this system's Python is older than 3.9; install a newer one and set PYTHON to its path"
}

need_cargo() {
  # rustup puts it where a login shell would find it.
  if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  have cargo || die "cargo is missing: install Rust 1.95 or newer, for example with rustup (https://rustup.rs), and start again"
  take_pinned_toolchain
}

# rustup downloads the release that rust-toolchain.toml names unless it is installed under that very name. Where it is
# there as `stable`, say, that one is taken.
take_pinned_toolchain() {
  local pinned toolchain
  have rustup || return 0
  [ -z "${RUSTUP_TOOLCHAIN:-}" ] || return 0
  pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$root/rust-toolchain.toml")
  for toolchain in $(rustup toolchain list | sed 's/ .*//'); do
    case $toolchain in
      "$pinned"-*) return 0 ;;
    esac
  done
  for toolchain in $(rustup toolchain list | sed 's/ .*//'); do
    case $(RUSTUP_TOOLCHAIN=$toolchain rustc --version 2>/dev/null) in
      "rustc $pinned "*)
        export RUSTUP_TOOLCHAIN=$toolchain
        return 0
        ;;
    esac
  done
}

need_valgrind() {
  have valgrind || install_packages "valgrind, which counts instructions" valgrind
}

# What looks at the dependencies.
need_cargo_deny() {
  need_cargo_tool cargo-deny 0.20.2 "looks at the dependencies"
}

# What has libFuzzer run our targets.
need_cargo_fuzz() {
  need_cargo_tool cargo-fuzz 0.13.2 "has libFuzzer run our targets"
}

# What makes the book of docs/. Without what serves it and watches for changes, which would build for three times as long.
need_mdbook() {
  need_cargo_tool mdbook 0.5.4 "makes a book of the documents" --no-default-features --features search
}

# need_cargo_tool NAME VERSION WHAT [OPTION...]: a program of the package registry, into the user's cache, where all checkouts
# find it: some take minutes to build.
need_cargo_tool() {
  local name=$1 version=$2 what=$3 tools=${XDG_CACHE_HOME:-$HOME/.cache}/bento-gateway/tools said
  shift 3
  PATH="$tools/bin:$PATH"
  case $name in
    cargo-*) said=$(cargo "${name#cargo-}" --version 2>/dev/null) || true ;;
    *) said=$("$name" --version 2>/dev/null) || true ;;
  esac
  # Some are called by the name of their command once more: cargo-cyclonedx-cyclonedx.
  case $said in
    "$name $version" | "$name v$version" | "$name-${name#cargo-} $version") return 0 ;;
  esac
  say "Installing $name $version, which $what, into $tools"
  # Without optimisation: it is built once and runs for seconds.
  CARGO_TARGET_DIR=$tools/build-$$ cargo install --quiet --locked --debug --root "$tools" "$@" "$name@$version" ||
    die "cargo could not install $name; its message is above. Is the package registry reachable?"
  rm -rf "$tools/build-$$"
}

# SQLite and the cryptography are compiled from C.
need_c_compiler() {
  have cc && have ld && printf '#include <stdio.h>\n' | cc -E - >/dev/null 2>&1 && return
  install_packages "a C compiler, for building SQLite" gcc libc6-dev
}

# Node.js with npm, for the tests in a browser.
node_suffices() {
  have node && have npm && node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)' >/dev/null 2>&1
}

need_node() {
  node_suffices && return
  install_packages "Node.js 18 or newer with npm, which drives the browser" nodejs npm
  node_suffices || die "this system's Node.js is older than 18; install a newer one"
}

have_chromium() {
  [ -n "${CHROMIUM:-}" ] || have chromium || have chromium-browser || have google-chrome
}
