#!/usr/bin/env bash
# The main job on recorded machines: draft a manifest from a known-good unit,
# sign it, verify that unit after a reboot, then one with a card added in transit.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
nonce=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() { say "$@"; "$@"; }

for unit in baseline baseline-reboot extra-nic-norom; do
	go run ./demo/unpack "$unit" "$dir/$unit.evidence.zip"
done

run bin/assay golden draft "$dir/baseline.evidence.zip" -o "$dir/golden.json"
run bin/assay golden sign "$dir/golden.json" --key testdata/keys/vendor.key --cert testdata/keys/vendor.pem -o "$dir/golden.signed.json"
run bin/assay golden verify "$dir/golden.signed.json" --trust testdata/keys/trust

verify() {
	local want=$1 unit=$2 got=0
	run bin/assay verify "$dir/$unit.evidence.zip" --golden "$dir/golden.signed.json" --trust testdata/keys/trust \
		--ek-roots testdata/tpm --nonce "$nonce" || got=$?
	if [ "$got" != "$want" ]; then
		echo "demo: $unit: exit code $got, expected $want" >&2
		exit 1
	fi
}
verify 0 baseline-reboot
verify 1 extra-nic-norom
echo
echo "demo: the clean machine passed, the tampered one failed."
demo/case.sh
