#!/bin/sh
# A team's own release script, over the folder it is started in: `serving` and `durable` hold a version, `versions/N` holds the state of version N.
# A version that is told to load has it after two looks; one with a file `stuck/N` never has. Each action is written down in `calls`.
#
#     release.sh observe|stage|unstage|switch|persist     told on standard input
#     release.sh predict N                                one request to version N
#
# Started for every look: it starts as few programs of its own as it can.
set -eu
# A file holds one line.
get() { read -r value <"$1" && printf '%s' "$value"; }
# A reader never finds half a file.
put() { echo "$2" >"$1.new" && mv "$1.new" "$1"; }
state() {
  read -r serving <serving
  read -r durable <durable
  generation="$serving/$durable"
  listed=
  for file in versions/?; do
    read -r state <"$file"
    version=${file#versions/}
    generation="$generation/$version:${state%% *}"
    listed="$listed${listed:+, }{\"version\": \"$version\", \"state\": \"${state%% *}\"}"
  done
}

case "$1" in
observe)
  for file in versions/?; do
    read -r state <"$file"
    case "$state" in
    'loading 2') put "$file" 'loading 1' ;;
    'loading 1') [ -e "stuck/${file#versions/}" ] || put "$file" available ;;
    esac
  done
  state
  printf '{"serving": [{"version": "%s", "share": 1}], "versions": [%s], "generation": "%s", "durable": "%s"}' \
    "$serving" "$listed" "$generation" "$durable"
  exit
  ;;
predict)
  [ "$(get "versions/$2")" = available ] || { echo "version $2 is not loaded" >&2; exit 1; }
  exit
  ;;
esac

read -r input
field() { printf '%s' "$input" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
to=$(field to)
expect=$(field expect)
[ -f "versions/$to" ] || { echo "there is no version $to in the store" >&2; exit 64; }
state
[ "$expect" = "$generation" ] || { echo "expected $expect, this is $generation" >&2; exit 11; }
echo "$1 $to" >>calls
case "$1" in
stage) put "versions/$to" 'loading 2' ;;
unstage) put "versions/$to" unloaded ;;
switch) put serving "$to" ;;
persist) put durable "$to" ;;
esac
