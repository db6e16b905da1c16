#!/usr/bin/env bash
# The case that started this project, worked through: an implant as it was alleged
# in public in 2018, and denied by all companies named. Nothing here says that it
# existed; docs/the-case.md tells what each step shows. Run after "make build".
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
key=(--key testdata/keys/vendor.key --cert testdata/keys/vendor.pem)
# All happens in January 2026, when the machine was recorded.
sold=2026-01-16T00:00:00Z seen=2026-01-17T00:00:00Z
nonce=61206e6f6e6365206f66207369787465656e206279746573206f72206d6f7265

tell() { printf '\n%s\n' "$*" | fold -s -w 100; }
run() {
	local words="${*//$dir\//}"
	printf '\n\033[1m$ %s\033[0m\n' "${words//$dir/.}"
	"$@"
}

# verify CODE UNIT ARGUMENT...: the verdict on a unit, down to its findings.
verify() {
	local want=$1 unit=$2 got=0
	shift 2
	run bin/assay verify "$dir/$unit/evidence" --golden "$dir/golden.signed.json" --trust "$dir/trust" \
		--ek-roots "$dir/sold/tpm-roots" --nonce "$nonce" --now "$seen" "$@" >"$dir/out" || got=$?
	sed -e '/^Required by policy/,/^Not checked/{/^Not checked/!d}' -e '/^Coverage/,/^No evidence here/{/^No evidence here/!d}' -e '/^manifest  /,$d' "$dir/out"
	if [ "$got" != "$want" ]; then
		echo "demo: $unit: exit code $got, expected $want" >&2
		exit 1
	fi
}

# shown CODE...: the verdict above has each of them.
shown() {
	for code; do
		grep -q -- "$code" "$dir/out" || { echo "demo: $code is missing" >&2; exit 1; }
	done
}

# inspection ID TECHNIQUE ARGUMENT...: a record of somebody who looked at the unit
# sold, signed.
inspection() {
	local id=$1 technique=$2
	shift 2
	run bin/assay inspection draft "$dir/sold/evidence" --id "$id" --technique "$technique" --operator 'Assay Lab/Op 7' \
		--reference 'golden images of the board' --directory "$dir" --now "$sold" "$@" -o "$dir/$id.json"
}
signed() { run bin/assay inspection sign "$dir/$1.json" "${key[@]}" -o "$dir/$1.signed.json"; }

tell 'THE CASE THAT STARTED IT. In 2018 a magazine alleged that a part as small as a grain of rice had been added to server boards,' \
	'between the management controller and the flash chip that holds its program, to alter that program on its way. All companies named denied it,' \
	'and no such board has been shown in public. Whether it happened is not our question. Our question is what would be seen if it did.'
go run ./demo/story "$dir" a01-openbmc-second-path=L3 a01-openbmc-second-path=L5 a01-openbmc-altered=L4 a01-management-address=L4

mkdir "$dir/trust"
cp testdata/keys/trust/root.pem "$dir/trust/"
cat >"$dir/trust/trust.yaml" <<'END'
grants:
  - signer: {organization: Assay Lab Computer Inc.}
  - signer: {organization: Assay Lab Computer Inc.}
    manufacturers: ["*"]
    classes: [inspection]
END

tell '1. The vendor describes the unit as it is sold, the flash of its management controller included, and signs that.'
run bin/assay golden draft "$dir/sold/evidence" --now "$sold" -o "$dir/golden.json" 2>/dev/null
run bin/assay golden sign "$dir/golden.json" "${key[@]}" -o "$dir/golden.signed.json"
verify 0 sold

tell '2. The same unit with the part in place, looked at in the ordinary way: inventory and measured boot, no flash was read.' \
	'The part answers on no bus, and the host measures nothing of it. The verdict passes, and it says itself what it could not see:' \
	'"firmware:bmc" was not checked, and a "flash interposer" is among what no evidence here would show.'
verify 0 openbmc-second-path-L3
shown 'firmware:bmc: not in the evidence' 'flash interposer' 'host firmware'

tell '3. Now the flash was read in two ways. One read is clean, which is what such a part would show to whoever looks; the other is not.'
verify 1 openbmc-second-path-L5
shown FW-007 IC-03 'flash chip of bmc'

tell '4. The other way round: the controller reads altered code, and still calls it by the version that the manifest has.'
verify 1 openbmc-altered-L4
shown FW-012 FW-004 IC-03

tell '5. A technician takes the power away, puts a clip on the chip and reads it. The chip is clean: what alters the code is not in it, but between it and its reader.'
cp "$dir/sold/evidence/firmware/bmc.rom" "$dir/u14.bin"
inspection CLIP-1 clip-dump --attach u14.bin=bmc --result undecided
signed CLIP-1
verify 1 openbmc-altered-L4 --inspection "$dir/CLIP-1.signed.json" --attachments "$dir"
shown FW-007 FW-012 'a clip'

tell '6. Somebody looks at the board, and finds a part on a footprint that the design leaves empty.'
inspection AOI-1 aoi --coverage complete --result deviates
sed -i 's/"places": *\(null\|\[\]\)/"places": [{"designator":"U15","observed":"extra","marking":"none"}]/' "$dir/AOI-1.json"
signed AOI-1
verify 1 sold --inspection "$dir/AOI-1.signed.json"
shown HW-014 U15

tell '7. Such a part would have to talk to somebody. The management controller answers with a network address that no manifest lists.'
verify 1 management-address-L4
shown 'HW-001  lan:8'

tell 'What closes the blind spot of step 2: a second read of the flash (a clip, or the controller beside the host), an inspection of the board,' \
	'or a controller that signs measurements of itself (SPDM). docs/the-case.md tells more.'
