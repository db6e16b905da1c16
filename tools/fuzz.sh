#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 20s), one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
count=0
while IFS=: read -r file name; do
	echo "== $(dirname "$file") $name"
	go test "./$(dirname "$file")" -run '^$' -fuzz "^${name}\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 1x
	count=$((count + 1))
done < <(git grep -oE 'func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/func //')
echo "fuzz: $count targets"
