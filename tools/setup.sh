#!/usr/bin/env bash
# Installs what the tests need beside Go: a TPM and a PKCS #11 token in software,
# programs that read what ours write, and with "e2e" what boots whole machines.
# Does nothing when it is there; without rights it says what is missing. Tests that
# need it are skipped then, but "make e2e" fails.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # where some of it is, and not everybody looks
what=${1:-}
without="tests that need them are skipped"
[ "$what" != e2e ] || without="make e2e fails without them"
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
file() { [ -e "$1" ] || missing+=("$2"); }
need swtpm swtpm
need swtpm_localca swtpm-tools
need mcopy mtools
need fsck.vfat dosfstools
need sgdisk gdisk
need xz xz-utils
need gcab gcab
need UEFIExtract uefitool-cli
need openssl openssl
need unzip unzip # the pages of the documentation use both
need curl curl
need xmllint libxml2-utils # reads reports of JUnit
need softhsm2-util softhsm2
need gcc gcc # for assay-pkcs11, the only program with C in it
file /usr/include/stdlib.h libc6-dev
need chromium chromium # looks at the pages of a fleet
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql) # tests start servers of their own
if [ "$what" = e2e ]; then
	need qemu-system-x86_64 qemu-system-x86
	need qemu-system-arm qemu-system-arm
	file /usr/share/OVMF/OVMF_CODE_4M.secboot.fd ovmf
	file /usr/lib/ipxe/qemu/efi-e1000e.rom ipxe-qemu
	file /usr/lib/systemd/boot/efi/linuxx64.efi.stub systemd-boot-efi
fi
root() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }
# The stick's kernel is Debian's; apt has to know where it is.
if [ "$what" = e2e ] && ! apt-cache show linux-image-amd64 >/dev/null 2>&1; then
	root && apt-get update -q >/dev/null || echo "setup: apt-get update is needed; Debian's kernel may not be found" >&2
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if ! root; then
	echo "setup: not installed: ${missing[*]}; $without" >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
	{ apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null; } ||
	echo "setup: cannot install ${missing[*]}; $without" >&2
