# shellcheck shell=bash
# For scripts that follow docs/guide-install.md: its blocks ```system NAME, run as they stand.
# Whoever reads this file has die, and run FILE, which runs a shell script where the reader
# sits; replaced, which fills in what a reader would, is cat unless told otherwise.

# guide_blocks PAGE NAME DIR writes each block of a script's own to a file of commands.
guide_blocks() {
	mkdir -p "$3"
	awk -v name="$2" -v dir="$3" '
		/^```system / { inside = $2 == name; file = sprintf("%s/%02d.todo", dir, ++n); next }
		/^```/ { inside = 0 }
		inside && !sub(/^[#$] /, "") { print FILENAME ": no command: " $0 >"/dev/stderr"; exit 1 }
		inside { print >file }' "$1" || die "$1"
	guide=$3
}

replaced() { cat; }

# follow TEXT runs the block that has TEXT in it, and ends when a command of it fails. What
# the page says beside a command is in ASKED, for an editor that does what it is told.
follow() {
	local block='' line each
	for each in "$guide"/*.todo; do
		[ ! -f "$each" ] || ! grep -qF -- "$1" "$each" || { block=$each; break; }
	done
	[ -n "$block" ] || die "the guide has no block (more) with: $1"
	while IFS= read -r line; do
		printf 'printf "+ %%s\\n" %q\nexport ASKED=%q\n%s\n[ $? -eq 0 ] || { echo "this command of the guide failed" >&2; exit 1; }\n' "$line" "${line##*  # }" "$line"
	done < <(replaced <"$block") >"$guide/block.sh"
	run "$guide/block.sh" || die "the block with: $1"
	mv "$block" "${block%.todo}.done"
}

# followed ends the script when it left a block of its own out.
followed() {
	local left
	left=$(find "$guide" -name '*.todo' -exec cat {} +)
	[ -z "$left" ] || die "the guide says this too, and it was not run: $left"
}
