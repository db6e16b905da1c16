#!/usr/bin/env bash
# Installs what the tests need beside Go: a TPM in software. Does nothing when it
# is there; without rights it says what is missing, and those tests are skipped.
set -euo pipefail
missing=()
command -v swtpm >/dev/null || missing+=(swtpm)
command -v swtpm_localca >/dev/null || missing+=(swtpm-tools)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: not installed: ${missing[*]}; tests with a TPM are skipped" >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
	{ apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null; } ||
	echo "setup: cannot install ${missing[*]}; tests with a TPM are skipped" >&2
