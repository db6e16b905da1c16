// Command release makes of built programs what is published: packages, archives,
// bills of materials and the licences of what is linked. Equal inputs give equal
// bytes; the time comes from the commit. It is run by tools/release.sh.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// release is what one run knows.
type release struct {
	source  string // the checkout
	stage   string // programs in ARCH/bin, pages in man, completions
	out     string // what is published
	arches  []string
	version version   // of the checkout
	at      time.Time // of the commit
	cache   string    // of modules
	goroot  string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var r release
	var described, arches string
	fs := flag.NewFlagSet("release", flag.ContinueOnError)
	fs.StringVar(&r.source, "source", "", "the checkout")
	fs.StringVar(&r.stage, "stage", "", "directory with what was built")
	fs.StringVar(&r.out, "o", "", "directory for what is published")
	fs.StringVar(&described, "version", "", "what git describe says")
	fs.StringVar(&arches, "arch", "amd64 arm64", "kinds of machines")
	if err := fs.Parse(args); err != nil {
		return err
	}
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.arches = strings.Fields(arches)
	r.at = time.Unix(epoch, 0).UTC()
	r.version = versionOf(described, r.at)
	for name, to := range map[string]*string{"GOMODCACHE": &r.cache, "GOROOT": &r.goroot} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return fmt.Errorf("go env %s: %w", name, err)
		}
		*to = strings.TrimSpace(string(out))
	}
	return r.make()
}

func (r *release) make() error {
	if err := r.pages(); err != nil {
		return err
	}
	for _, arch := range r.arches {
		dir := filepath.Join(r.stage, arch)
		if err := r.documents(dir, arch); err != nil {
			return err
		}
		if err := errors.Join(r.pack("deb", dir, arch), r.pack("rpm", dir, arch), r.archive(dir, arch)); err != nil {
			return err
		}
	}
	return nil
}

// version is one version as three worlds write it.
type version struct {
	described string // v1.2.3-4-gabcdef0, as the program says
	archive   string // in names of files: 1.2.3-4-gabcdef0
	packaged  string // sorts rightly in deb and rpm: 1.2.3+4.gabcdef0
}

// versionOf reads what git describe says. Without a tag there is no version, and
// the commit's time makes one that is older than any.
func versionOf(described string, at time.Time) version {
	v := version{described: described, archive: strings.TrimPrefix(described, "v")}
	s, dirty := strings.CutSuffix(v.archive, "-dirty")
	parts := strings.Split(s, "-")
	switch n := len(parts); {
	case !strings.Contains(parts[0], "."):
		v.packaged = "0~" + at.Format("20060102150405") + "." + s
	case n >= 3 && strings.HasPrefix(parts[n-1], "g"):
		v.packaged = strings.Join(parts[:n-2], "~") + "+" + parts[n-2] + "." + parts[n-1]
	default:
		v.packaged = strings.Join(parts, "~")
	}
	if dirty {
		v.packaged += "+dirty"
	}
	return v
}
