package firmware

import (
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
	case f.Type == NodeType && isDevice(f) && !isWhiteout(f):
		return Data
	case f.Type == typeListing || f.Rewritten:
		return Volatile
	}
	return Data
}

func isDevice(f File) bool {
	return len(f.Content) > 0 && (f.Content[0] == 'b' || f.Content[0] == 'c')
}

// isWhiteout reports whether a device is how an overlay marks a removed file.
func isWhiteout(f File) bool { return strings.HasSuffix(string(f.Content), " 0,0") }

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
