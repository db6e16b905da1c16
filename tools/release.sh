#!/usr/bin/env bash
# Makes what is published: programs, packages, archives, bills of materials and their
# checksums, in dist. It asks no network: what is not in the module cache is missing (go
# mod download, also in tools/release). Equal sources and an equal Go give equal bytes.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
usage() {
	cat >&2 <<-END
	usage: tools/release.sh [--snapshot] [--arch ARCH]... [-o DIR] [--gpg-key ID] [--minisign-key FILE]
	  --snapshot           of a checkout that is changed, or whose commit has no tag
	  --arch ARCH          amd64 or arm64 (default both)
	  -o DIR               where to (default dist)
	  --gpg-key ID         sign SHA256SUMS with gpg
	  --minisign-key FILE  sign SHA256SUMS with minisign
	Without a checkout, VERSION and SOURCE_DATE_EPOCH say what git would.
	END
	exit 64
}
die() { echo "release: $*" >&2; exit 1; }

snapshot='' arches=() out=$root/dist gpg='' minisign=''
while [ $# -gt 0 ]; do
	case "$1" in
	--snapshot) snapshot=yes ;;
	--arch) [ $# -gt 1 ] || usage; [[ $2 =~ ^(amd64|arm64)$ ]] || usage; arches+=("$2"); shift ;;
	-o) [ $# -gt 1 ] || usage; out=$(realpath -m "$2"); shift ;;
	--gpg-key) [ $# -gt 1 ] || usage; gpg=$2; shift ;;
	--minisign-key) [ $# -gt 1 ] || usage; minisign=$(realpath "$2"); shift ;;
	*) usage ;;
	esac
	shift
done
[ ${#arches[@]} -gt 0 ] || arches=(amd64 arm64)
cd "$root"

if [ -z "${VERSION:-}" ]; then
	VERSION=$(git describe --tags --match 'v[0-9]*' --always --dirty)
	if [ -z "$snapshot" ]; then
		[ -z "$(git status --porcelain)" ] || die "the checkout has changes that are not committed; commit them, or make a --snapshot"
		git describe --tags --match 'v[0-9]*' --exact-match >/dev/null 2>&1 || die "the commit has no tag vX.Y.Z; tag it, or make a --snapshot"
	fi
fi
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
if [ -e "$out" ] && [ -n "$(ls -A "$out")" ]; then
	[ -f "$out/SHA256SUMS" ] || die "$out is there, and no release is in it"
	rm -rf "$out"
fi

# Nothing of who builds, where and when.
GOMODCACHE=$(go env GOMODCACHE)
GOCACHE=$(go env GOCACHE)
export VERSION SOURCE_DATE_EPOCH GOMODCACHE GOCACHE
export GOENV=off GOFLAGS=-mod=readonly GOPROXY=off GOWORK=off GOTOOLCHAIN=local GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT='' CGO_ENABLED=0
export LC_ALL=C TZ=UTC
unset GOOS GOARCH LDFLAGS MAKEFLAGS MAKELEVEL MFLAGS
umask 022

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for arch in "${arches[@]}"; do
	echo "release: $VERSION for linux/$arch"
	GOOS=linux GOARCH=$arch make -s build BIN="$stage/$arch/bin"
done
program=$stage/$(go env GOHOSTARCH)/bin/assay
if [ "$(go env GOHOSTOS)" != linux ] || [ ! -x "$program" ]; then
	program=$stage/assay
	go build -trimpath -buildvcs=false -ldflags "-X main.version=$VERSION" -o "$program" ./cmd/assay
fi
"$program" manpages "$stage/man"
mkdir -p "$stage/completions"
"$program" completion bash >"$stage/completions/assay.bash"
"$program" completion zsh >"$stage/completions/_assay"
"$program" completion fish >"$stage/completions/assay.fish"
go -C tools/release build -trimpath -buildvcs=false -o "$stage/release" .
"$stage/release" -source "$root" -stage "$stage" -version "$VERSION" -arch "${arches[*]}" -o "$stage/out"
mkdir -p "$out"
cp "$stage/out/"* "$out" # whole, or nothing

cd "$out"
sha256sum -- * >"$stage/SHA256SUMS"
mv "$stage/SHA256SUMS" .
[ -z "$gpg" ] || gpg --batch --yes --local-user "$gpg" --armor --detach-sign SHA256SUMS
[ -z "$minisign" ] || minisign -S -s "$minisign" -m SHA256SUMS -t "assay $VERSION"
echo "release: assay $VERSION in $out"
ls -l | awk 'NR > 1 { printf "%12d  %s\n", $5, $9 }'
cat SHA256SUMS
