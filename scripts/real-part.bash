# Sourced by the scripts of real-parts.d: what they have in common.
# shellcheck shell=bash
set -euo pipefail

part=$(basename "$0")
# Of the repository's root.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# What is built or downloaded stays here, outside the repository.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rollbackd

say() { printf 'real-parts: %s: %s\n' "$part" "$*" >&2; }

# need_packages TOOL:PACKAGE...: installs Debian's PACKAGE where TOOL is not on the PATH; says what to do where it may not.
# The services that packages bring are not started: tests start their own.
need_packages() {
  local pair tool missing=()
  for pair in "$@"; do
    tool=${pair%%:*}
    # A server's folder is not always on the PATH of a plain user.
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null 2>&1 || missing+=("${pair##*:}")
  done
  if ((${#missing[@]} == 0)); then
    say "there: ${*%%:*}"
    return
  fi
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  install_packages "${missing[@]}"
}

# install_packages PACKAGE...
install_packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "missing: $*; install them (on Debian as root: apt-get install $*) and start again"
    exit 1
  fi
  say "apt-get install $*"
  local policy=/usr/sbin/policy-rc.d ours=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    ours=$policy
  fi
  # Given back whatever becomes of it: it would keep every later package from starting its service.
  trap '[ -z "'"$ours"'" ] || rm -f "'"$ours"'"' EXIT
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  [ -z "$ours" ] || rm -f "$ours"
  trap - EXIT
}
