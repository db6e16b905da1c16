#!/usr/bin/env bash
# Installs what the tests need beside Go: a TPM in software, and with "e2e" what
# boots whole machines. Does nothing when it is there; without rights it says
# what is missing, and those tests are skipped.
set -euo pipefail
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
file() { [ -e "$1" ] || missing+=("$2"); }
need swtpm swtpm
need swtpm_localca swtpm-tools
if [ "${1:-}" = e2e ]; then
	need qemu-system-x86_64 qemu-system-x86
	need mcopy mtools
	need fsck.vfat dosfstools
	need sgdisk gdisk
	need openssl openssl
	file /usr/share/OVMF/OVMF_CODE_4M.secboot.fd ovmf
	file /usr/lib/ipxe/qemu/efi-e1000e.rom ipxe-qemu
	file /usr/lib/systemd/boot/efi/linuxx64.efi.stub systemd-boot-efi
fi
# The stick's kernel is Debian's; apt has to know where it is.
kernel() { [ "${1:-}" = e2e ] && ! ls "${XDG_CACHE_HOME:-$HOME/.cache}"/assay/image/linux-image-*.deb >/dev/null 2>&1; }
if kernel "$@" && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
	apt-get update -q >/dev/null || echo "setup: apt-get update failed; Debian's kernel may not be found" >&2
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: not installed: ${missing[*]}; tests that need them are skipped" >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
	{ apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null; } ||
	echo "setup: cannot install ${missing[*]}; tests that need them are skipped" >&2
