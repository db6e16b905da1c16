#!/usr/bin/env bash
# Builds the container image from bin/assay with buildah, podman or docker, and runs it. Says
# so where one of both is not possible. On Debian: apt-get install buildah crun.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${TAG:-localhost/assay:devel}
tool=''
for t in buildah podman docker; do
	if command -v "$t" >/dev/null; then tool=$t; break; fi
done
if [ -z "$tool" ]; then
	echo "container: not built: needs buildah, podman or docker" >&2
	exit 0
fi
args=(build -t "$tag" -f deploy/container/Containerfile --build-arg "VERSION=$(git describe --tags --match 'v[0-9]*' --always --dirty)" --build-arg "REVISION=$(git rev-parse HEAD)")
at=$(git log -1 --format=%ct)
isolation=()
case "$tool" in
docker) ;;
*)
	args+=(--timestamp "$at")
	# A layer is a directory where the kernel has no overlay file system for us.
	export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
	;;
esac
[ "$tool" = docker ] || export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
"$tool" "${args[@]}" . >/dev/null
echo "container: $tag built with $tool"
want=$(bin/assay version)
case "$tool" in
buildah)
	c=$(buildah from --pull-never "$tag")
	trap 'buildah rm "$c" >/dev/null' EXIT
	isolation=(--isolation "$BUILDAH_ISOLATION")
	run() { buildah run "${isolation[@]}" "$c" -- /usr/bin/assay "$@"; }
	;;
*) run() { "$tool" run --rm --network none --read-only "$tag" "$@"; } ;;
esac
got=$(run version) || { echo "container: the image is there; this machine cannot run it" >&2; exit 0; }
[ "$got" = "$want" ] || { echo "container: says $got, want $want" >&2; exit 1; }
run explain HW-001 >/dev/null
echo "container: $got, as user $("$tool" inspect --format '{{if .OCIv1}}{{.OCIv1.Config.User}}{{else}}{{.Config.User}}{{end}}' "$tag" 2>/dev/null || echo 65532)"
