#!/usr/bin/env bash
# Makes a release twice and compares every byte: here, and from a copy of the tree at
# another place, with other modes and times of its files, another umask, time zone, language
# and home. With --cold the second one also compiles everything anew (minutes).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
cold='' args=()
for a in "$@"; do
	if [ "$a" = --cold ]; then cold=yes; else args+=("$a"); fi
done
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
bash tools/release.sh --snapshot -o "$dir/one" "${args[@]}" >"$dir/one.log" 2>&1 || { cat "$dir/one.log" >&2; exit 1; }

VERSION=$(git describe --tags --match 'v[0-9]*' --always --dirty)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
copy="$dir/another place/of the tree"
cache=$(go env GOCACHE) modules=$(go env GOMODCACHE)
[ -z "$cold" ] || cache=$dir/cache
(
	umask 077
	mkdir -p "$copy" "$dir/home"
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -c --ignore-failed-read 2>/dev/null | tar -x -C "$copy" --no-same-permissions -m
	find "$copy" -exec touch -h -d 2001-02-03 {} +
	export VERSION SOURCE_DATE_EPOCH GOCACHE=$cache GOMODCACHE=$modules HOME=$dir/home
	export TZ=Pacific/Kiritimati LC_ALL=C.UTF-8 LANG=C.UTF-8 GOFLAGS=-buildvcs=false
	bash "$copy/tools/release.sh" --snapshot -o "$dir/two" "${args[@]}"
) >"$dir/two.log" 2>&1 || { cat "$dir/two.log" >&2; exit 1; }
echo "here:"
cat "$dir/one/SHA256SUMS"
echo "from a copy at another place${cold:+, with an empty build cache}:"
cat "$dir/two/SHA256SUMS"
diff -r "$dir/one" "$dir/two" || { echo "reproducible: the two differ" >&2; exit 1; }
echo "reproducible: $(wc -l <"$dir/one/SHA256SUMS") files, the same bytes"
