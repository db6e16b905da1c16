#!/usr/bin/env bash
# Makes a release twice and compares every byte: here, and from a copy of the tree at
# another place, with other modes and times of its files, another umask, time zone, language
# and home. With --cold the second one also compiles everything anew (minutes). Then once more
# as docs/guide-install.md tells somebody who holds a release, from a clone of the commit; with
# --arch, which that does not know, this is left out.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
cold='' args=()
for a in "$@"; do
	if [ "$a" = --cold ]; then cold=yes; else args+=("$a"); fi
done
die() { echo "reproducible: $*" >&2; exit 1; }
# shellcheck source=tools/guide.sh
. tools/guide.sh
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
diff -r "$dir/one" "$dir/two" || die "the two differ"
echo "reproducible: $(wc -l <"$dir/one/SHA256SUMS") files, the same bytes"
[ ${#args[@]} -eq 0 ] || exit 0

# The reader has the release, and a clone of our repository where the page says; it has the tag
# of the page's version. The program is the release's, not an installed one.
guide_blocks docs/guide-install.md reproducible "$dir/guide"
git clone -q --no-tags "$root" "$dir/ours"
git -C "$dir/ours" tag v1.2.3
(cd "$dir/ours" && bash tools/release.sh -o "$dir/release") >"$dir/log" 2>&1 || { cat "$dir/log" >&2; die "release"; }
mkdir "$dir/here"
cp "$dir/release/SHA256SUMS" "$dir/here"
tar xzf "$dir"/release/assay-1.2.3-linux-"$(go env GOARCH)".tar.gz -C "$dir" --strip-components 1 --wildcards '*/assay'
replaced() { sed "s,/usr/bin/assay,$dir/assay,"; }
run() {
	env -C "$dir/here" GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.$dir/ours.insteadOf" GIT_CONFIG_VALUE_0=https://github.com/assay-hw/assay \
		GIT_CONFIG_NOSYSTEM=1 bash "$1" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; return 1; }
}
follow "git clone"
followed
echo "reproducible: the same bytes again as the guide says, of version 1.2.3"
