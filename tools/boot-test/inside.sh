#!/usr/bin/env bash
# Follows docs/guide-install.md on a booted system, looks at what came of it, and switches
# the machine off. It is started by each boot: after the first part the machine restarts.
set -uo pipefail
say() { echo "inside: $*"; }
die() {
	echo "inside: FAILED: $*"
	[ -z "${pin:-}" ] || { status; asking export --what findings; }
	journalctl -b --no-pager -o short-monotonic -u 'assay-*' | tail -n 60
	systemctl poweroff
	sleep infinity
}
# shellcheck source=tools/guide.sh
. /root/guide.sh
guide=/root/guide
cd /srv/here || die "cd"

# What the reader supplies, and this script instead:
# - the answer "yes" to apt, and the editor, which adds the line that the page has beside it;
# - the password and the pin that the journal shows, for the prompt and for 5f0c...;
# - the file names of the page, for version 1.2.3, and assay.example in /etc/hosts (boot-test.sh);
# - the roots of the TPM's maker, which this emulated one needs and bought ones do not.
echo 'APT::Get::Assume-Yes "true"; quiet "1";' >/etc/apt/apt.conf.d/90boot-test
cat >/usr/local/bin/editor-that-asks <<'END'
#!/bin/sh
case $ASKED in ASSAY_FLEET_OPTIONS=*) ASKED="$ASKED --ek-roots /etc/assay/tpm-makers" ;; esac
printf '%s\n' "$ASKED" >>"$1"
END
chmod 755 /usr/local/bin/editor-that-asks
export EDITOR=editor-that-asks
replaced() { sed "s/5f0c\.\.\./${pin:-5f0c...}/g"; }
run() { bash "$1" 2>&1; }

asking() { assay fleet "$@" --token-file session --server https://assay.example:8443 --pin "$pin"; }
is() { # UNIT PROPERTY VALUE
	local got
	got=$(systemctl show -P "$2" "$1")
	[ "$got" = "$3" ] || die "$1: $2 is $got, not $3"
}
journal() { journalctl -b --no-pager -o cat -u "$1"; }
until_true() { # SECONDS WHAT COMMAND...
	local n=$1 what=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		[ $((n--)) -gt 0 ] || die "$what did not come"
		sleep 1
	done
}
serves() { grep -q "^serving on" <<<"$(journal assay-fleet)"; }
answers() { (exec 3<>/dev/tcp/127.0.0.1/8443); }
tpm() { stat -c '%U %G %a' /dev/tpmrm0; }
status() { asking status; }
judged() { grep -q "attested 2" <<<"$(status)"; }
listing() {
	find / -xdev \( -path /root -o -path /srv -o -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/cache -o -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /usr/local/bin \) -prune -o -printf '%p %M %U %G\n' | grep -Ev '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-? |^/etc/\.pwd\.lock ' | sort
	cut -d: -f1 /etc/passwd /etc/group | grep -vx tss | sort
}

# main_job drafts, signs and verifies recorded machines, with what Landlock the kernel has.
main_job() {
	local job=/root/vendor want got nonce=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
	assay golden draft $job/baseline.evidence.zip -o $job/golden.json >$job/log 2>&1 || { cat $job/log; die "golden draft"; }
	assay golden sign $job/golden.json --key $job/vendor.key --cert $job/vendor.pem -o $job/signed.json || die "golden sign"
	for want in "0 baseline-reboot" "1 extra-nic-norom"; do
		got=0
		assay verify "$job/${want#* }.evidence.zip" --golden $job/signed.json --trust $job/trust --ek-roots $job/tpm --nonce $nonce --quiet || got=$?
		[ "$got" = "${want%% *}" ] || die "verify ${want#* }: exit code $got"
	done
	say "the honest machine passed, the tampered one failed"
}

first() {
	say "$(uname -r), $(systemctl --version | head -n 1), security modules $(cat /sys/kernel/security/lsm), TPM $(cat /sys/class/tpm/tpm0/tpm_version_major)"
	until_true 60 "/dev/tpmrm0" test -e /dev/tpmrm0
	say "/dev/tpmrm0 before: $(tpm)"
	listing >/root/before

	follow "apt install ./assay"
	udevadm settle
	[ "$(tpm)" = "root tss 660" ] || die "/dev/tpmrm0 is $(tpm), not root tss 660"
	for unit in assay-fleet.service assay-agent.timer; do
		is $unit UnitFileState disabled
		is $unit ActiveState inactive
	done
	say "installed: $(assay version); /dev/tpmrm0 is $(tpm); nothing is enabled, nothing runs"
	assay version --verbose
	main_job

	mkdir /etc/assay/tpm-makers && cp /root/tpm-makers/* /etc/assay/tpm-makers/
	follow "systemctl enable --now assay-fleet.service"
	until_true 5 "the line that it serves" serves # it is active when it serves; the journal may lag a little
	is assay-fleet.service ActiveState active
	is assay-fleet.service UnitFileState enabled
	until_true 10 "an answer on port 8443" answers
	pin=$(journal assay-fleet | sed -n 's/^pin for agents: //p')
	ASSAY_PASSWORD=$(journal assay-fleet | sed -n 's/^first account: admin, password \([^ ]*\) (shown once)$/\1/p')
	[[ $pin =~ ^[0-9a-f]{64}$ ]] || die "no pin in the journal: $pin"
	[ -n "$ASSAY_PASSWORD" ] || die "no password in the journal"
	export ASSAY_PASSWORD
	say "the server serves; password and pin are in the journal"
	journal assay-fleet

	follow "assay fleet login admin"
	follow "assay fleet enroll"
	is assay-agent.timer ActiveState active
	is assay-agent.timer UnitFileState enabled
	[ "$(stat -c %a /etc/assay/token)" = 600 ] || die "the token's mode"
	say "enrolled, and the timer runs: $(systemctl list-timers --no-pager assay-agent.timer | sed -n 2p)"

	systemctl start assay-agent.service || die "assay-agent.service"
	is assay-agent.service Result success
	journal assay-agent
	grep -Eq '^sent [0-9a-f]{64}, [0-9]+ bytes' <<<"$(journal assay-agent)" || die "the agent sent nothing"
	until_true 120 "an appraisal" judged
	status
	asking export
	asking export --what findings
	echo "$pin" >pin
	systemctl reboot
	sleep infinity
}

passes() { grep -q "^pass " <<<"$(status)"; }
# varies is what two scans of one machine differ in anyhow.
varies='^evidence\|sha256:\|nonce\|clock'

second() {
	say "started again: /dev/tpmrm0 is $(tpm); what was enabled runs"
	[ "$(tpm)" = "root tss 660" ] || die "/dev/tpmrm0 is $(tpm) after a boot"
	is assay-agent.timer ActiveState active
	until_true 120 "the server, by itself" answers
	is assay-fleet.service ActiveState active
	! grep -q 'first account' <<<"$(journal assay-fleet)" || die "a second first account"
	[ "$(journal assay-fleet | sed -n 's/^pin for agents: //p')" = "$pin" ] || die "another pin"

	# A manifest of this machine makes it pass, with evidence that the agent sends.
	assay scan --quiet -o reference.evidence.zip || die "scan"
	assay golden draft reference.evidence.zip -o golden.json 2>/dev/null || die "golden draft"
	assay golden sign golden.json --key /root/vendor/vendor.key --cert /root/vendor/vendor.pem -o golden.signed.json || die "golden sign"
	asking documents add golden.signed.json || die "documents add"
	asking audit assay-machine --wait 0 --quiet
	systemctl start assay-agent.service || die "assay-agent.service, the second time"
	until_true 120 "a verdict" passes
	status
	# The hardening takes nothing away from what root collects.
	sed 's,^ExecStart=.*,ExecStart=/usr/bin/assay scan --quiet -o /var/lib/assay-agent/hardened.zip,; /^LoadCredential=/d' /usr/lib/systemd/system/assay-agent.service >/run/systemd/system/hardened.service
	systemctl daemon-reload
	systemctl start hardened.service || die "a scan under the agent's hardening"
	assay inspect reference.evidence.zip --all >root.seen
	assay inspect /var/lib/assay-agent/hardened.zip --all >agent.seen
	diff <(grep -v "$varies" root.seen) <(grep -v "$varies" agent.seen) || die "the agent's unit does not see what root sees"
	say "under its hardening the agent sees what root sees: $(wc -l <root.seen) lines"
	say "the server judged the quote of this machine's TPM: pass"
	# A member of the group tss may use the TPM, and nobody else.
	useradd --create-home --groups tss with-tss
	useradd --create-home without
	for user in with-tss without; do su $user -c 'assay attest quote -o ~/quote.zip' >$user.log 2>&1; done
	grep -Eq '^quote +[1-9][0-9]* read' with-tss.log || { cat with-tss.log; die "no quote in the group tss"; }
	! grep -Eq '^quote +[1-9][0-9]* read' without.log || { cat without.log; die "a quote without the group tss"; }
	say "attest quote reaches the TPM in the group tss, and only there"
	userdel -r with-tss 2>/dev/null
	userdel -r without 2>/dev/null

	for want in assay-fleet.service=1.3 assay-agent.service=3.4; do
		systemd-analyze security --no-pager "${want%=*}" | grep -F "Overall exposure level for ${want%=*}: ${want#*=} " || die "systemd-analyze security ${want%=*} is not ${want#*=}"
	done

	# It stops in order, and an upgrade starts nothing that did not run.
	systemctl stop assay-fleet.service
	is assay-fleet.service Result success
	is assay-fleet.service ExecMainStatus 0
	apt install /root/newer.deb >/root/log 2>&1 || { cat /root/log; die "upgrade"; }
	is assay-fleet.service ActiveState inactive
	systemctl start assay-fleet.service || die "start"
	local before
	before=$(systemctl show -P MainPID assay-fleet.service)
	apt install --allow-downgrades ./assay_1.2.3-1_amd64.deb >/root/log 2>&1 || { cat /root/log; die "upgrade"; }
	is assay-fleet.service ActiveState active
	[ "$(systemctl show -P MainPID assay-fleet.service)" != "$before" ] || die "the upgrade did not restart the server"
	status
	say "the server stops in order; an upgrade restarts it where it runs, and only there"

	follow "apt remove"
	for unit in assay-fleet.service assay-agent.timer; do is $unit ActiveState inactive; done
	! readlink /proc/[0-9]*/exe | grep '^/usr/bin/assay' || die "something runs"
	[ -z "$(find /etc/systemd -name 'assay-*')" ] || die "an enabled unit is left"
	[ -e /etc/assay/token ] && [ -e /etc/assay/trust/vendor-root.pem ] && [ -e /var/lib/assay-fleet/signing.key ] || die "purge took what it should keep"
	[ ! -e /etc/assay/fleet.env ] && [ ! -e /var/lib/assay-agent ] || die "purge left what it should remove"
	id assay-fleet >/dev/null || die "the user that owns what is kept is gone"
	say "removed and purged; kept are: $(find /etc/assay /var/lib/assay-fleet -maxdepth 1 | tr '\n' ' ')"
	# What the page says of the rest, and nothing is left.
	rm -r /var/lib/assay-fleet /etc/assay
	userdel assay-fleet
	for group in assay assay-fleet; do groupdel $group 2>/dev/null; done
	diff /root/before <(listing) || die "something is left"

	follow "tar xzf"
	chown root:root /dev/tpmrm0
	chmod 600 /dev/tpmrm0
	follow "install -D"
	udevadm settle
	[ "$(tpm)" = "root tss 660" ] || die "/dev/tpmrm0 is $(tpm)"
	cp vendor-root.pem /etc/assay/trust/
	systemctl start assay-fleet.service || die "the unit of the archive"
	is assay-fleet.service ActiveState active
	systemctl start assay-agent.timer || die "the timer of the archive"
	systemctl stop assay-fleet.service assay-agent.timer
	is assay-fleet.service Result success
	say "the archive's units run too"
	followed
	say "all passed"
}

off() {
	systemctl poweroff
	sleep infinity
}

echo
if [ ! -e pin ]; then first; else pin=$(cat pin); second; off; fi
