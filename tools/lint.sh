#!/usr/bin/env bash
# gofumpt, vet, staticcheck and govulncheck; fails on any finding of theirs.
set -euo pipefail
cd "$(dirname "$0")/.."
tool() { go tool -modfile=tools/go.mod "$@"; }

unformatted=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r go tool -modfile=tools/go.mod gofumpt -l)
if [ -n "$unformatted" ]; then
	echo "not formatted by gofumpt:" >&2
	echo "$unformatted" >&2
	exit 1
fi
echo "gofumpt: ok"
large=$(git ls-files -z 2>/dev/null | xargs -0 -r stat -c '%s %n' | awk '$1 > 2 * 1024 * 1024')
if [ -n "$large" ]; then
	echo "more than 2 MiB, a program that was built here?" >&2
	echo "$large" >&2
	exit 1
fi
go vet ./...
go vet -tags otel ./cmd/assay # what few build
echo "vet: ok"
tool staticcheck ./...
echo "staticcheck: ok"

# The vulnerability database is read from VULNDB, from a copy beside the checkout,
# or from its public address. Where none can be had this fails: only VULNDB=none
# goes without, and says so.
db=${VULNDB:-}
if [ -z "$db" ] && [ -f ../shared/vulndb/db.tar.xz ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	tar -xJf ../shared/vulndb/db.tar.xz -C "$dir"
	db="file://$dir/db"
fi
# cmd/assay-matrix is left out: it is shipped to nobody, and holds our verdicts against
# those of go-attestation, whose flaws (GO-2026-5298) are what is counted there.
mapfile -t packages < <(go list ./... | grep -v '/cmd/assay-matrix$')
case $db in
none)
	echo "govulncheck: NOT RUN, as VULNDB=none says; known flaws of dependencies were not looked for" >&2
	exit 0
	;;
"")
	db=https://vuln.go.dev
	if ! curl -fsS -m 10 -o /dev/null "$db/index/db.json" 2>/dev/null; then
		echo "govulncheck: no database can be reached; set VULNDB to a copy (file:///...), or to none to go without" >&2
		exit 1
	fi
	;;
esac
known=$(curl -fsS -m 30 "$db/index/vulns.json" | grep -oE '"GO-[0-9]+-[0-9]+"' | tr -d '"' | sort -uV) || true
[ -n "$known" ] || { echo "govulncheck: $db is no vulnerability database" >&2; exit 1; }
tool govulncheck -db "$db" "${packages[@]}"
echo "govulncheck: ok, with a database of $(wc -l <<<"$known") entries up to $(tail -n 1 <<<"$known")"
