#!/usr/bin/env bash
# Boots a Debian 12 system with a TPM in QEMU and follows docs/guide-install.md in it: the
# packages, their units and the udev rule where systemd, udev, Landlock and a TPM are real.
# What is done inside is in boot-test/inside.sh. As root on Debian; ASSAY_DIST names a release
# that is there, BOOT_SYSTEM a tar of the system, which is made when it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "boot-test: $*"; }
die() { echo "boot-test: $*" >&2; exit 1; }
# shellcheck source=tools/guide.sh
. tools/guide.sh
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	say "not run: needs root on a Debian system"
	exit 0
fi
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need mmdebstrap mmdebstrap
need qemu-system-x86_64 qemu-system-x86
need swtpm swtpm
need swtpm_localca swtpm-tools
need mke2fs e2fsprogs
[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || missing+=(ovmf)
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -q >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi
work=$(mktemp -d)
pids=()
leave() {
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap leave EXIT
dist=${ASSAY_DIST:-$work/dist}
[ -n "${ASSAY_DIST:-}" ] || bash tools/release.sh --snapshot --arch amd64 -o "$dist" >/dev/null

suite=bookworm
system=${BOOT_SYSTEM:-$work/system.tar}
if [ ! -f "$system" ]; then
	# shellcheck disable=SC2016 # apt fills it in
	mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' "Codename: $suite" 'Identifier: Packages' | head -n 1)}
	[ -n "$mirror" ] || die "apt knows no mirror of $suite; name one with MIRROR"
	# The kernel has NVMe, ext4 and TPMs built in, so that it needs no initramfs.
	mmdebstrap --quiet --variant=minbase --mode=root --include=systemd,systemd-sysv,udev,dbus,iproute2,linux-image-cloud-amd64 \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$system" "$mirror"
	say "a system of $suite was made"
fi
mkdir "$work/root"
tar xf "$system" -C "$work/root" --exclude=./dev/*
rm -f "$work/root"/boot/initrd.img-* "$work/root"/etc/dpkg/dpkg.cfg.d/*mmdebstrap
kernel=$(echo "$work/root"/boot/vmlinuz-*)

# The machine's TPM, with a certificate of a maker that is made for it.
mkdir "$work/tpm" "$work/ca"
printf 'statedir = %s\nsigningkey = %s/key.pem\nissuercert = %s/issuer.pem\ncertserial = %s/serial\n' "$work/ca"{,,,} >"$work/ca/config"
printf -- '--platform-manufacturer Example\n--platform-version 1\n--platform-model Boot\n' >"$work/ca/options"
printf 'create_certs_tool = %s\ncreate_certs_tool_config = %s/ca/config\ncreate_certs_tool_options = %s/ca/options\n' "$(command -v swtpm_localca)" "$work" "$work" >"$work/ca/setup"
swtpm_setup --tpm2 --tpmstate "$work/tpm" --config "$work/ca/setup" --create-ek-cert --pcr-banks sha256 >"$work/log" 2>&1 || { cat "$work/log"; die "swtpm_setup"; }

# What the reader has in a directory: the release under the names of the page, and the files
# that it takes for granted.
here=$work/root/srv/here
mkdir "$here"
guide_blocks docs/guide-install.md boot-test "$work/root/root/guide"
cp tools/guide.sh tools/boot-test/inside.sh "$work/root/root/"
cp "$(realpath "$dist"/assay_*_amd64.deb)" "$here/assay_1.2.3-1_amd64.deb"
cp -r testdata/keys "$work/root/root/vendor"
for unit in baseline baseline-reboot extra-nic-norom; do
	go run ./demo/unpack "$unit" "$work/root/root/vendor/$unit.evidence.zip"
done
cp -r testdata/tpm "$work/root/root/vendor/tpm"
cp testdata/keys/trust/root.pem "$here/vendor-root.pem"
mkdir "$work/root/root/tpm-makers"
cp "$work"/ca/issuer.pem "$work"/ca/swtpm-localca-rootca-cert.pem "$work/root/root/tpm-makers/"
# The archive unpacks to a directory with its version in the name.
mkdir "$work/archive"
tar xzf "$(realpath "$dist"/assay-*-linux-amd64.tar.gz)" -C "$work/archive" --transform 's,^[^/]*,assay-1.2.3-linux-amd64,'
tar czf "$here/assay-1.2.3-linux-amd64.tar.gz" -C "$work/archive" assay-1.2.3-linux-amd64
# The same package with a higher version, to upgrade to.
dpkg-deb -R "$here/assay_1.2.3-1_amd64.deb" "$work/newer"
sed -i 's/^Version: .*/&+1/' "$work/newer/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/newer" "$work/root/root/newer.deb" >/dev/null
cat >"$work/root/etc/systemd/system/boot-test.service" <<-'END'
	[Unit]
	Description=Follow the guide
	After=multi-user.target
	[Service]
	ExecStart=/bin/bash /root/inside.sh
	StandardOutput=file:/dev/ttyS0
	StandardError=inherit
	Environment=HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
	[Install]
	WantedBy=multi-user.target
END
ln -s ../boot-test.service "$work/root/etc/systemd/system/multi-user.target.wants/boot-test.service"
ln -sf /dev/null "$work/root/etc/systemd/system/serial-getty@ttyS0.service"
echo assay-machine >"$work/root/etc/hostname"
echo '127.0.0.1 localhost assay-machine assay.example' >"$work/root/etc/hosts" # the reader's server
mke2fs -q -t ext4 -d "$work/root" "$work/disk.img" 2G 2>/dev/null
say "the machine is ready: kernel ${kernel##*/vmlinuz-}, $(basename "$(realpath "$dist"/assay_*_amd64.deb)")"

swtpm socket --tpm2 --tpmstate dir="$work/tpm" --ctrl type=unixio,path="$work/tpm.sock" --log level=0 &
pids+=($!)
for _ in $(seq 100); do [ ! -S "$work/tpm.sock" ] || break; sleep 0.1; done
cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/vars.fd"
began=$SECONDS accel=tcg
[ ! -w /dev/kvm ] || accel=kvm
timeout "${BOOT_TIME:-900}" qemu-system-x86_64 -nodefaults -no-user-config -display none -machine "q35,accel=$accel" -cpu max -smp 2 -m 1024 -global ICH9-LPC.disable_s3=1 \
	-drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd -drive "if=pflash,unit=1,format=raw,file=$work/vars.fd" \
	-chardev "socket,id=tpm,path=$work/tpm.sock" -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0 \
	-smbios "type=1,manufacturer=Assay Lab Computer Inc.,product=BOOT-TEST,serial=S-BOOT-0001,uuid=0a55a11b-1ab0-4c0d-8b0a-0c0ffee00b00" \
	-drive "if=none,id=disk,format=raw,cache=unsafe,file=$work/disk.img" -device nvme,drive=disk,serial=BOOT0001 \
	-kernel "$kernel" -append "root=/dev/nvme0n1 rw console=ttyS0 quiet" -serial "file:$work/serial" &
machine=$!
pids+=("$machine")
tail -n +1 -F --pid="$machine" "$work/serial" 2>/dev/null | sed -u 's,\r,,g' | tee "$work/printed" || true
wait "$machine" || die "the machine did not end well"
grep -q '^inside: all passed$' "$work/printed" || die "not all passed inside"
say "all passed, $((SECONDS - began)) seconds in the machine"
