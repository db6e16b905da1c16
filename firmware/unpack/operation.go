package unpack

import (
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/filetree"
)

// volatileVariables are settings, counters and addresses that U-Boot or the
// system write by themselves (U-Boot, doc/usage/environment.rst, and what its
// network commands set). All others are compared: what boots may be in any.
var volatileVariables = []string{
	"ethaddr", "eth?addr", "eth??addr", "usbethaddr", "ethact", "ethprime", "ethrotate", "ipaddr", "ipaddr?", "netmask", "gatewayip", "serverip", "dnsip", "dnsip2", "domain",
	"hostname", "serial#", "bootcount", "upgrade_available", "ver", "stdin", "stdout", "stderr", "filesize", "fileaddr", "bootstage", "reset_reason", "soc_id",
	"fdtcontroladdr", "loadaddr_last", "cpu_temp", "board_rev", "por", "warmboot", "timezone",
}

// volatileVariable reports whether a boot loader or the system write a variable
// by themselves.
func volatileVariable(name string) bool { return matches(volatileVariables, name) }

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// operation are files that controllers write by themselves, or when someone
// changes a setting that starts nothing and lets nobody in. A folder ends with a
// slash. Above the paths stand the folders of overlays and of /var.
//
// Sources: openbmc/docs (filesystem, code-update/flash-layout); the state folders of
// phosphor-logging, -state-manager, -settingsd, -time-manager, -debug-collector,
// -bmc-code-mgmt, -inventory-manager, -led-manager and -certificate-manager; bmcweb's
// persistent_data.hpp; entity-manager; phosphor-networkd, which writes units of
// systemd-networkd; systemd's file-hierarchy(7), machine-id(5), hostname(5),
// systemd-random-seed, -timesyncd, -update-done and -coredump; overlayfs.rst of the
// kernel for work folders; common/recipes-lib/kv of facebook/openbmc. Of MegaRAC's
// /conf only event log and sensor records are public by name.
var operation = []string{
	"log/", "tmp/", "lock/", "spool/rsyslog/", "work/", "etc-work/", "home-work/", "dumps/",
	"lib/phosphor-logging/", "lib/phosphor-state-manager/", "lib/phosphor-settings-manager/", "lib/phosphor-time-manager/", "lib/phosphor-debug-collector/",
	"lib/phosphor-bmc-code-mgmt/", "lib/phosphor-software-manager/", "lib/phosphor-inventory-manager/", "lib/phosphor-led-manager/", "lib/phosphor-host-state-manager/",
	"lib/phosphor-chassis-state-manager/", "lib/phosphor-fan-presence/", "lib/phosphor-regulators/", "lib/phosphor-virtual-sensor/", "lib/phosphor-pid-control/",
	"lib/obmc/", "lib/power-control/", "lib/logging/", "lib/pldm/", "lib/rsyslog/", "lib/logrotate.status", "lib/systemd/random-seed", "lib/systemd/timesync/",
	"lib/private/systemd/timesync/", "lib/systemd/timers/", "lib/systemd/coredump/", "lib/systemd/pstore/", "lib/systemd/rfkill/", "lib/systemd/backlight/", "lib/dhcpcd/",
	"lib/dhcp/", "lib/chrony/drift", "lib/ntp/drift", "lib/dbus/machine-id", "lib/dropbear/dropbear_*_host_key", "configuration/*.json", "kv_store/", "sensors/",
	".updated", "etc/.updated", "etc/.pwd.lock", "etc/hostname", "etc/hosts", "etc/machine-id", "etc/localtime", "etc/timezone", "etc/resolv.conf", "etc/adjtime",
	"etc/systemd/network/*.network", "etc/systemd/network/*.netdev", "etc/dropbear/dropbear_*_host_key", "etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_*_key.pub",
	"etc/ssh_host_*_key", "etc/ssh_host_*_key.pub", "etc/ssl/certs/https/server.pem", "home/root/bmcweb_persistent_data.json",
	"home/root/.ash_history", "home/root/.bash_history", "home/root/.lesshst", "home/root/.viminfo",
	"hostname", "machine-id", "BMC?/SEL.dat", "BMC?/SDR.dat", "BMC?/SELreclaiminfo.ini",
}

// roots are the folders under which the paths of operation lie: the upper folder
// of an overlay, /var, or a file system that is mounted there.
var roots = []string{"cow/", "upper/", "var/", "persist/"}

// writtenInOperation reports whether a file that does not run may change without
// a word, by its path in a file system that is written to.
func writtenInOperation(p string) bool {
	for _, r := range roots {
		p = strings.TrimPrefix(p, r)
	}
	if loads(path.Base(p)) {
		return false
	}
	return settled(p) || settled(filetree.Lasting(p))
}

func settled(p string) bool {
	return matches(operation, p) || slices.ContainsFunc(operation, func(o string) bool { return strings.HasSuffix(o, "/") && strings.HasPrefix(p, o) })
}

// loads reports whether a file is by its name one that others load or start,
// wherever it lies.
func loads(name string) bool {
	switch path.Ext(name) {
	case ".so", ".ko", ".py", ".pyc", ".pyo", ".pth", ".sh", ".lua", ".pl", ".cgi", ".js", ".service", ".socket", ".timer", ".mount", ".rules":
		return true
	}
	return strings.Contains(name, ".so.") || name == "authorized_keys"
}
