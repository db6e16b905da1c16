#!/usr/bin/env bash
# Installs the packages into clean Debian 12 systems (chroots), uses what they bring, upgrades,
# removes and purges them, and compares what is left with what was there. The rpm is installed
# too, into the same kind of system; the program for arm64 runs in qemu-user. What docs/guide-install.md
# says is followed as it stands; boot-test.sh follows the rest on a system that was booted. As
# root on Debian; ASSAY_DIST names packages that are there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
say() { echo "package-test: $*"; }
die() { echo "package-test: $*" >&2; exit 1; }
# shellcheck source=tools/guide.sh
. tools/guide.sh
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	say "not run: needs root on a Debian system"
	exit 0
fi
missing=()
for p in mmdebstrap lintian rpm rpmlint mandoc gpg minisign dnf; do command -v "$p" >/dev/null || missing+=("$p"); done
command -v createrepo_c >/dev/null || missing+=(createrepo-c)
command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -q >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi
arch=$(dpkg --print-architecture)
work=$(mktemp -d)
leave() {
	umount "$work"/*/proc 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap leave EXIT
chmod 755 "$work"
dist=${ASSAY_DIST:-$work/dist}
[ -n "${ASSAY_DIST:-}" ] || bash tools/release.sh --snapshot -o "$dist" >/dev/null
deb=$(realpath "$dist"/assay_*_"$arch".deb)
rpm=$(realpath "$dist"/assay-*."$(uname -m)".rpm)
(cd "$dist" && sha256sum --quiet -c SHA256SUMS) || die "SHA256SUMS"
ASSAY_DIST=$(realpath "$dist") go -C tools/release test -count 1 -run Published . >/dev/null || die "a bill of materials does not follow the schema"
say "checksums hold, bills of materials follow the schema of CycloneDX 1.6"

lintian --fail-on error,warning --tag-display-limit 0 "$dist"/*.deb 2>&1 | grep -v 'root privileges' || [ "${PIPESTATUS[0]}" -eq 0 ] || die "lintian"
say "lintian: nothing from warning on, beside deploy/package/deb/lintian-overrides"
rpmlint "$rpm" >"$work/rpmlint" 2>&1 || true
if grep ' E: ' "$work/rpmlint" | grep -Ev ' (statically-linked-binary|no-signature|no-binary)'; then die "rpmlint"; fi
say "rpmlint: no error, beside that programs are static and packages not signed"

suite=${SUITE:-bookworm}
# shellcheck disable=SC2016 # apt fills it in
mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' "Codename: $suite" 'Identifier: Packages' | head -n 1)}
[ -n "$mirror" ] || die "apt knows no mirror of $suite; name one with MIRROR"
system() { # NAME PACKAGES
	mmdebstrap --quiet --variant=minbase --mode=root ${2:+--include="$2"} "$suite" "$work/$1" "$mirror"
	cp "$deb" "$work/$1/assay.deb"
	[ -z "$2" ] || mount -t proc proc "$work/$1/proc"
}
in_root() { chroot "$work/$name" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
# What is there: names, modes, owners, and the accounts. Not what package managers keep of
# their own, and not the group tss, which belongs to whoever uses a TPM.
listing() {
	(cd "$work/$name" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./var/cache -o -path ./var/log -o -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/lib/rpm -o -path ./var/lib/dnf -o -path ./etc/dnf -o -path ./root/.rpmdb \) -prune -o -printf '%p %M %U %G\n' | grep -Ev '^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)-? |^\./etc/\.pwd\.lock ' | sort
		cut -d: -f1 etc/passwd etc/group | grep -vx tss | sort)
}
same() { diff -u "$work/before" <(listing) || die "$1: something is left"; }
install() { in_root apt-get install -y -q /assay.deb >"$work/log" 2>&1 || { cat "$work/log"; die "apt-get install"; }; }

for unit in baseline baseline-reboot extra-nic-norom; do
	go run ./demo/unpack "$unit" "$work/$unit.evidence.zip"
done

# main_job COMMAND... drafts, signs and verifies recorded machines with a program that is
# run by the command, where the system $name has its files.
main_job() {
	local job=$work/$name/tmp/job nonce=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
	mkdir -p "$job"
	cp -r "$work"/*.evidence.zip testdata/keys testdata/tpm "$job"
	"$@" golden draft /tmp/job/baseline.evidence.zip -o /tmp/job/golden.json 2>/dev/null
	"$@" golden sign /tmp/job/golden.json --key /tmp/job/keys/vendor.key --cert /tmp/job/keys/vendor.pem -o /tmp/job/signed.json
	for want in "0 baseline-reboot" "1 extra-nic-norom"; do
		local got=0
		"$@" verify "/tmp/job/${want#* }.evidence.zip" --golden /tmp/job/signed.json --trust /tmp/job/keys/trust --ek-roots /tmp/job/tpm --nonce "$nonce" --quiet || got=$?
		[ "$got" = "${want%% *}" ] || die "verify ${want#* }: exit code $got"
	done
	rm -r "$job"
}

# The other architecture, on this one. A chroot has nothing but the package and the emulator,
# which knows neither Landlock nor seccomp: assay says so and goes on (ASSAY_SANDBOX=auto).
if [ "$arch" = amd64 ] && [ -f "$(echo "$dist"/assay_*_arm64.deb)" ]; then
	name=arm64
	mkdir -p "$work/$name/tmp"
	dpkg-deb -x "$(realpath "$dist"/assay_*_arm64.deb)" "$work/$name"
	cp "$(command -v qemu-aarch64-static)" "$work/$name/qemu"
	in_arm64() { chroot "$work/arm64" /qemu /usr/bin/assay "$@"; }
	[ "$(in_arm64 version)" = "$(tar xzOf "$(realpath "$dist"/assay-*-linux-amd64.tar.gz)" --wildcards '*/assay' >"$work/assay" && chmod 755 "$work/assay" && "$work/assay" version)" ] || die "arm64: assay version"
	in_arm64 version --verbose | grep -q 'Landlock is not there' || say "arm64: the emulator knows Landlock"
	main_job in_arm64
	if ASSAY_SANDBOX=require in_arm64 golden show /none 2>/dev/null; then die "arm64: a sandbox that is not there was taken for one"; fi
	rm -rf "${work:?}/$name"
	say "arm64: the honest machine passed, the tampered one failed"
fi

# What the guide says to somebody who has nothing but a directory with a release.
guide_blocks docs/guide-install.md package-test "$work/guide"
here=$work/here
mkdir "$here" "$work/home"
as_reader() { env -i -C "$here" PATH="$PATH" HOME="$work/home" GNUPGHOME="$work/gnupg" LC_ALL=C.UTF-8 "$@"; }
run() { as_reader bash "$1"; }

# A release signed with keys that live as long as this script.
cp "$dist"/* "$here"
mkdir -m 700 "$work/gnupg"
as_reader gpg --batch --quiet --passphrase '' --quick-generate-key 'Package Test <test@example.org>' default default never 2>/dev/null
as_reader gpg --batch --armor --detach-sign SHA256SUMS
as_reader minisign -G -W -p assay.pub -s assay.key >/dev/null
as_reader minisign -S -s assay.key -m SHA256SUMS >/dev/null
follow "gpg --verify"
gpgconf --homedir "$work/gnupg" --kill all

# The module as a proxy of Go's would serve it, made of the commit that is checked out. The
# modules that it needs come from the module cache, and what was compiled of them from ours (-trimpath).
module=$(go list -m)
proxy=$work/proxy/$module/@v
mkdir -p "$proxy"
echo v1.2.3 >"$proxy/list"
git show HEAD:go.mod >"$proxy/v1.2.3.mod"
printf '{"Version":"v1.2.3","Time":"%s"}\n' "$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)" >"$proxy/v1.2.3.info"
mapfile -t nested < <(git ls-files '*/go.mod' | sed 's,^\(.*\)/go.mod$,:!\1,') # modules of their own
git archive --format=zip --prefix="$module@v1.2.3/" -o "$proxy/v1.2.3.zip" HEAD -- . "${nested[@]}"
modules=$(go env GOMODCACHE) compiled=$(go env GOCACHE)
run() { as_reader env GOPROXY="file://$work/proxy,file://$modules/cache/download" GOSUMDB=off GOFLAGS="-modcacherw -trimpath" CGO_ENABLED=0 GOCACHE="$compiled" bash "$1" 2>"$work/log" || { cat "$work/log"; return 1; }; }
follow "go install"
[ "$("$work/home/go/bin/assay" version)" = "assay v1.2.3" ] || die "go install: $("$work/home/go/bin/assay" version)"
[ -e "$work/home/.local/share/man/man1/assay-verify.1" ] || die "go install: no manual pages"
as_reader bash -c '. /usr/share/bash-completion/bash_completion 2>/dev/null || exit 0; PATH=$PATH:~/go/bin; _completion_loader assay; complete -p assay >/dev/null' || die "go install: no completion"
rm -rf "${work:?}/home" "${work:?}/proxy"
say "a signed release is checked, and go install works, as the guide says"

name=full
system full systemd,udev,man-db,bash-completion,zsh,fish
listing >"$work/before"
install
version=$(in_root assay version)
say "installed: $version"
main_job in_root assay
say "the honest machine passed, the tampered one failed"
in_root man -P cat assay-golden-sign | grep -q ASSAY_KEY_PIN || die "man assay-golden-sign"
in_root man -w assay | grep -qx /usr/share/man/man1/assay.1.gz || die "man -w assay"
in_root bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader assay; complete -p assay' | grep -q '__start_assay' || die "bash completion"
in_root bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader assay; COMP_WORDS=(assay gol); COMP_CWORD=1; COMP_LINE="assay gol"; COMP_POINT=9; __start_assay; echo "${COMPREPLY[*]}"' 2>/dev/null | grep -q golden || die "bash completion does not complete"
in_root zsh -c 'autoload -Uz compinit; compinit -u -d /tmp/zcompdump; print $_comps[assay]' | grep -qx _assay || die "zsh completion"
rm -f "$work/$name/tmp/zcompdump"
in_root fish -c 'complete -C "assay gol"' 2>/dev/null | grep -q golden || die "fish completion"
rm -rf "$work/$name/root/.config" "$work/$name/root/.local" "$work/$name/root/.cache"
say "manual pages and completions of bash, zsh and fish work"
for unit in assay-fleet.service assay-agent.service assay-agent.timer; do
	in_root systemd-analyze verify "/usr/lib/systemd/system/$unit" >"$work/log" 2>&1 || { cat "$work/log"; die "$unit"; }
	if grep -i assay "$work/log"; then die "$unit"; fi
done
for unit in assay-fleet.service assay-agent.timer; do
	state=$(in_root systemctl is-enabled "$unit") || true
	[ "$state" = disabled ] || die "$unit is $state"
done
in_root systemd-analyze security --offline=true /usr/lib/systemd/system/assay-fleet.service /usr/lib/systemd/system/assay-agent.service 2>/dev/null | grep Overall || true
[ "$(in_root stat -c '%U %a' /var/lib/assay-fleet)" = "assay-fleet 700" ] || die "/var/lib/assay-fleet"
in_root id -nG assay-fleet | grep -qw assay || die "assay-fleet is not in the group assay"
say "units are well formed and not enabled; accounts and state are there"
in_root assay image build -o /tmp/x.img --kernel /none --stub /none >"$work/log" 2>&1 && die "image build"
grep -q /none "$work/log" || { cat "$work/log"; die "image build does not find its programs"; }
# An upgrade keeps what the administrator wrote; what was enabled goes with the program.
echo 'ASSAY_FLEET_OPTIONS=--metrics 127.0.0.1:9440' >>"$work/$name/etc/assay/fleet.env"
in_root apt-get install -y -q --reinstall -o Dpkg::Options::=--force-confold /assay.deb >/dev/null 2>&1
grep -q '^ASSAY_FLEET_OPTIONS' "$work/$name/etc/assay/fleet.env" || die "an upgrade lost the configuration"
in_root systemctl enable assay-fleet.service assay-agent.timer >/dev/null 2>&1
in_root apt-get remove -y -q assay >/dev/null 2>&1
[ ! -e "$work/$name/usr/bin/assay" ] || die "remove"
[ -e "$work/$name/etc/assay/fleet.env" ] || die "remove took the configuration"
[ -z "$(find "$work/$name/etc/systemd" -name 'assay-*')" ] || die "remove left an enabled unit"
in_root apt-get purge -y -q assay >/dev/null 2>&1
same "purge"
say "upgraded, removed and purged; nothing is left"
# What is a key, or may be one, outlives the package and is named.
install
touch "$work/$name/etc/assay/token" "$work/$name/var/lib/assay-fleet/signing.key"
in_root apt-get purge -y -q assay >"$work/log" 2>&1
grep -q 'kept /var/lib/assay-fleet' "$work/log" || die "purge says nothing of keys"
grep -q 'kept in /etc/assay' "$work/log" || die "purge says nothing of the token"
[ -e "$work/$name/etc/assay/token" ] && [ -e "$work/$name/var/lib/assay-fleet/signing.key" ] || die "purge took a key"
say "keys are kept, and named"
umount "$work/full/proc"
rm -rf --one-file-system "${work:?}/full"

# The three starts of five minutes, as somebody new to it follows them: the pages that the
# package brings, their commands in order, in a system with nothing but what they ask for.
# ASSAY_TRANSCRIPT names a file that keeps what was printed.
name=new
system new swtpm,swtpm-tools,unzip
install
transcript=${ASSAY_TRANSCRIPT:-$work/transcript}
: >"$transcript"
for start in technician procurement auditor; do
	in_root assay docs "start/$start" >"$work/page"
	{
		echo 'exec 2>&1 </dev/null; sudo() { "$@"; }; mkdir -p "$HOME/'$start'" && cd "$HOME/'$start'"'
		awk '/^```console$/ { inside = 1; next } /^```$/ { inside = 0 } inside && sub(/^\$ /, "")' "$work/page" |
			while IFS= read -r line; do printf 'code=$?; printf "%%s\\n" %q; (exit $code)\n%s\n' "\$ $line" "$line"; done
	} >"$work/$name/tmp/start.sh"
	in_root timeout 300 bash /tmp/start.sh >"$work/log" || true
	cat "$work/log" >>"$transcript"
	case $start in
	technician) want='^PASS  Assay Lab Computer|^  SLOT7 PCIe x8  Component|^  P1-DIMMD1  Declared|^Evidence of this machine reaches' ;;
	procurement) want='^PASS  manifest assay-lab|^FAIL  manifest  version 0, untrusted|^  duplicate  |^- component:memory-4: removed' ;;
	auditor) want='^enrolled as|^1 machines  pass 1|^1 machines  fail 1|HW-001,unexpected-component' ;;
	esac
	IFS='|'
	for w in $want; do grep -Eq -e "$w" "$work/log" || { cat "$work/log"; die "start/$start: no line $w"; }; done
	unset IFS
	say "start/$start: $(grep -c '^\$ ' "$work/log") commands, and what they should print"
done
in_root apt-get purge -y -q assay >/dev/null 2>&1
in_root sh -c '! command -v assay' || die "purge left the program"
umount "$work/new/proc"
rm -rf --one-file-system "${work:?}/new"

name=bare
system bare ""
listing >"$work/before"
install
in_root assay version | grep -qxF "$version" || die "without systemd"
in_root id -nG assay-fleet | grep -qw assay || die "no accounts without systemd"
in_root apt-get purge -y -q assay >/dev/null 2>&1
same "purge without systemd"
say "the same in a system without systemd"

# Directories that others bring where rpm is at home.
mkdir -p "$work/$name"/usr/{lib/sysusers.d,share/{licenses,zsh/site-functions,fish/vendor_completions.d}}
listing >"$work/before"
# A repository with what a system of rpms has and a package may ask for: /bin/sh.
mkdir "$work/repository"
printf '%s\n' 'Name: system' 'Version: 1' 'Release: 1' 'Summary: stands for the system' 'License: none' 'BuildArch: noarch' 'Provides: /bin/sh' '%description' 'It is empty.' '%files' >"$work/system.spec"
rpmbuild -bb --quiet --define "_topdir $work/rpmbuild" --define "_rpmdir $work/repository" "$work/system.spec" >"$work/log" 2>&1 || { cat "$work/log"; die "rpmbuild"; }
createrepo_c -q "$work/repository"
# The reader answers yes, and dnf works on the clean system instead of this one; the rpm of Debian
# keeps its list in the home.
mkdir "$work/wrap"
printf '#!/bin/sh\nexec /usr/bin/dnf -q -y --installroot="%s" --releasever=1 --setopt=reposdir=/none --repofrompath="system,file://%s" --nogpgcheck "$@"\n' "$work/$name" "$work/repository" >"$work/wrap/dnf"
chmod 755 "$work/wrap/dnf"
cp "$rpm" "$here/assay-1.2.3-1.x86_64.rpm"
run() { as_reader env HOME=/root PATH="$work/wrap:$PATH" bash "$1" >"$work/log" 2>&1 || { cat "$work/log"; return 1; }; }
follow "dnf install"
in_root assay version | grep -qxF "$version" || die "rpm: assay version"
main_job in_root assay
rpm --root "$work/$name" -V assay || die "rpm -V"
in_root id -nG assay-fleet | grep -qw assay || die "rpm: no accounts"
follow "dnf remove"
rpm --root "$work/$name" -e --nodeps system 2>/dev/null || true
for account in assay-fleet assay; do # rpm leaves accounts; so do distributions
	in_root userdel "$account" 2>/dev/null || in_root groupdel "$account" 2>/dev/null || true
done
in_root groupdel assay-fleet 2>/dev/null || true
same "rpm -e"
say "rpm: installed, verified, used and erased; nothing but accounts is left"
followed
say "all passed"
