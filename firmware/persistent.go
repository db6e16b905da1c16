package firmware

import (
	"path"
	"slices"
	"strings"
)

// Types of what decoders find, where the opener treats them in a way of their
// own.
const (
	// NodeType is that of a symbolic link or a device: its contents are a line of
	// the listing. Only in a file system that is written to it is a leaf.
	NodeType = "node"
	// VariableType is that of a variable of a boot loader.
	VariableType = "boot variable"

	typePersistent = "persistent file"
	typeListing    = "listing"
	typeVolumeFile = "volume"
)

// persistent classifies a file in a range that is written to in operation:
// Volatile is what may change there without a word. What runs, what says who may
// log in, and what is started is declared like the rest of the image.
func persistent(f File) Kind {
	switch {
	case f.Kind != Data:
		return f.Kind
	case f.Type == VariableType:
		if slices.Contains(bootVariables, f.Path) {
			return Data
		}
	case f.Type == NodeType:
		if isDevice(f) && !isWhiteout(f) || sensitive(f.Path) {
			return Data
		}
	case f.Type != typeListing && sensitive(f.Path):
		return Data
	}
	return Volatile
}

// bootVariables decide what U-Boot starts and with which arguments; others are
// settings, counters and addresses of network cards.
var bootVariables = []string{
	"bootcmd", "bootargs", "preboot", "altbootcmd", "setbootargs", "obmc_bootcmd", "kernelcmd", "bootfile", "serverip", "bootdelay", "verify",
	"set_bootargs", "init", "rootpath", "console",
}

func isDevice(f File) bool {
	return len(f.Content) > 0 && (f.Content[0] == 'b' || f.Content[0] == 'c')
}

// isWhiteout reports whether a device is how an overlay marks a removed file.
func isWhiteout(f File) bool { return strings.HasSuffix(string(f.Content), " 0,0") }

// names are files that decide who may log in or what runs, wherever they lie.
var sensitiveNames = []string{
	"passwd", "passwd-", "shadow", "shadow-", "group", "group-", "gshadow", "sudoers", "authorized_keys", "authorized_keys2", "ld.so.preload",
	"inittab", "rc.local", "rcS", "crontab", "sshd_config", "ipmi_pass", ".profile", ".bashrc", ".bash_profile", "profile", "nsswitch.conf",
}

// sensitiveFolders are folders of etc, and of their like elsewhere, whose files
// are run, or say what is.
var sensitiveFolders = []string{
	"/.ssh/", "/etc/sudoers.d/", "/etc/pam.d/", "/etc/init.d/", "/etc/rc.d/", "/etc/rcS.d/", "/etc/profile.d/", "/etc/udev/rules.d/", "/etc/default/dropbear",
	"/etc/modules-load.d/", "/etc/modprobe.d/", "/etc/ld.so.conf.d/", "/etc/security/", "/systemd/system/", "/systemd/user/", "/systemd/system-generators/",
	"/etc/cron.d/", "/etc/cron.daily/", "/etc/cron.hourly/", "/etc/cron.weekly/", "/etc/cron.monthly/", "/spool/cron/", "/crontabs/",
	"/etc/network/if-up.d/", "/etc/network/if-pre-up.d/", "/etc/dbus-1/system.d/", "/tmpfiles.d/", "/etc/xdg/autostart/",
	"/etc/rc0.d/", "/etc/rc1.d/", "/etc/rc2.d/", "/etc/rc3.d/", "/etc/rc4.d/", "/etc/rc5.d/", "/etc/rc6.d/",
}

// sensitive reports whether a path names an account, a key that lets someone in,
// or something that is started. Keys of the host itself are made by each unit
// and let nobody in.
func sensitive(p string) bool {
	p = "/" + p
	return slices.Contains(sensitiveNames, path.Base(p)) ||
		slices.ContainsFunc(sensitiveFolders, func(f string) bool { return strings.Contains(p, f) })
}

// settings are files of a read-only file system that a controller replaces with
// its own when someone uses it.
var settings = []string{
	"etc/hostname", "etc/hosts", "etc/machine-id", "etc/localtime", "etc/timezone", "etc/resolv.conf", "etc/adjtime", "etc/network/interfaces",
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
