package firmware

import (
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/filetree"
)

// Types of what decoders find, where the opener treats them in a way of their
// own.
const (
	// NodeType is that of a symbolic link, a device or an empty file: its contents
	// are a line of the listing. Only in a file system that is written to it is a
	// leaf.
	NodeType = "node"
	// VariableType is that of a variable of a boot loader. One of kind Code is run
	// when it boots.
	VariableType = "boot variable"
	// SupersededType is that of other contents that a file had or a variable has:
	// PATH~VERSION. Which one counts is not certain.
	SupersededType = "superseded"

	typePersistent = "persistent file"
	typeListing    = "listing"
	typeVolumeFile = "volume"
)

// persistent classifies a file in a range that is written to in operation:
// Volatile is what may change there without a word. All else is declared like
// the rest of the image.
func persistent(f File) Kind {
	switch {
	case f.Kind != Data:
		return f.Kind
	case f.Type == SupersededType: // the decoder left out what may change
		return Data
	case f.Type == VariableType:
		if VolatileVariable(f.Path) {
			return Volatile
		}
	case f.Type == typeListing:
		return Volatile
	case f.Type == NodeType && isDevice(f) && !isWhiteout(f):
		return Data
	case WrittenInOperation(f.Path):
		return Volatile
	}
	return Data
}

// volatileVariables are settings, counters and addresses that U-Boot or the
// system write by themselves (U-Boot, doc/usage/environment.rst, and what its
// network commands set). All others are compared: what boots may be in any.
var volatileVariables = []string{
	"ethaddr", "eth?addr", "eth??addr", "usbethaddr", "ethact", "ethprime", "ethrotate", "ipaddr", "ipaddr?", "netmask", "gatewayip", "serverip", "dnsip", "dnsip2", "domain",
	"hostname", "serial#", "bootcount", "upgrade_available", "ver", "stdin", "stdout", "stderr", "filesize", "fileaddr", "bootstage", "reset_reason", "soc_id",
	"fdtcontroladdr", "loadaddr_last", "cpu_temp", "board_rev", "por", "warmboot", "timezone",
}

// VolatileVariable reports whether a boot loader or the system write a variable
// by themselves.
func VolatileVariable(name string) bool { return matches(volatileVariables, name) }

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

func isDevice(f File) bool {
	return len(f.Content) > 0 && (f.Content[0] == 'b' || f.Content[0] == 'c')
}

// isWhiteout reports whether a device is how an overlay marks a removed file.
func isWhiteout(f File) bool { return strings.HasSuffix(string(f.Content), " 0,0") }

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

// WrittenInOperation reports whether a file that does not run may change without
// a word, by its path in a file system that is written to.
func WrittenInOperation(p string) bool {
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

// settings are files of a read-only file system that a controller replaces with
// its own when someone uses it.
var settings = []string{
	"etc/hostname", "etc/hosts", "etc/machine-id", "etc/localtime", "etc/timezone", "etc/resolv.conf", "etc/adjtime", ".updated", "etc/.updated",
}

// shadowed marks files that take the place of one of the read-only file systems:
// the upper directory of an overlay may lie at any depth.
func (o *opener) shadowed(ls []Leaf) {
	for i := range ls {
		l := &ls[i]
		if l.packed && l.Kind == Volatile && l.file == nil && o.shadows(l.within) {
			l.Kind, l.Type = Data, typePersistent
		}
		o.shadowed(l.Inside)
	}
}

func (o *opener) shadows(p string) bool {
	for p != "" {
		if slices.Contains(settings, p) || strings.HasPrefix(p, "var/") || strings.HasPrefix(p, "etc/systemd/network/") {
			return false
		}
		if strings.Contains(p, "/") && o.readonly[p] {
			return true
		}
		_, p, _ = strings.Cut(p, "/")
	}
	return false
}

// silent reports whether a leaf may come, go and change without a word.
func (l Leaf) silent() bool { return l.Kind == Volatile && l.packed && l.Type != typeVolumeFile }

// versions are the digests that a manifest declares of files in a range that is
// written to, and of their older versions.
type versions map[string]bool

func versionsOf(ls []Leaf) versions {
	v := versions{}
	for _, l := range ls {
		v[version(l)] = true
	}
	return v
}

func version(l Leaf) string { return plainPath(l.Path) + "\x00" + string(l.Kind) + l.SHA256 }

// plainPath is a path without the number of a version.
func plainPath(p string) string {
	if i := strings.LastIndexByte(p, '~'); i > strings.LastIndexByte(p, '/') {
		return p[:i]
	}
	return p
}

// known reports whether an older version is declared: as what the file was, or
// is, or as what another one was called while it was written. Of a boot loader's
// variables either copy may be the newer one.
func (v versions) known(l Leaf) bool {
	if l.Type != SupersededType && l.Type != VariableType {
		return false
	}
	if v[version(l)] {
		return true
	}
	was := l
	was.Path = filetree.Lasting(plainPath(l.Path))
	return l.Type == SupersededType && v[version(was)]
}
