package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/firmware"
)

func newFirmwareExtractCommand(env *environment) *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "extract IMAGE DIR",
		Short: "Write the parts of a firmware image into files",
		Long: `Writes every file of the image and its sections, and every other part, into DIR,
in folders named after what holds them. DIR must be new or empty; names that a file
system might take otherwise are changed, and nothing is written outside of DIR.`,
		Example: "  assay firmware extract bios.rom parts/",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		m, err := openImage(env, args[0], quiet)
		if err != nil {
			return err
		}
		n, err := extract(m.Open(), args[1])
		if err != nil {
			return err
		}
		if quiet {
			return nil
		}
		_, err = fmt.Fprintf(env.stdout, "%d files in %s\n", n, args[1])
		return err
	}
	cmd.Flags().BoolVar(&quiet, "quiet", false, "print nothing")
	return cmd
}

// extract writes leaves into a new or empty directory.
func extract(leaves []firmware.Leaf, dir string) (int, error) {
	failed := func(err error) error { return &exitError{exitIO, fmt.Errorf("extract: %w", err)} }
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, failed(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, failed(err)
	}
	if len(entries) > 0 {
		return 0, usage("%s is not empty; name a new directory", dir)
	}
	root, err := os.OpenRoot(dir) // follows no link out of the directory
	if err != nil {
		return 0, failed(err)
	}
	defer root.Close()
	x := &extractor{root: root}
	for _, l := range leaves {
		if err := x.leaf(l); err != nil {
			return x.written, failed(err)
		}
	}
	return x.written, nil
}

type extractor struct {
	root    *os.Root
	written int
}

// leaf writes a leaf that is one part, and goes into one that holds others.
func (x *extractor) leaf(l firmware.Leaf) error {
	name := safePath(l.Path)
	if l.Module() {
		suffix := ".bin"
		if len(l.Inside) > 0 {
			suffix = ".ffs"
		}
		if err := x.write(name+suffix, l.Content()); err != nil {
			return err
		}
	}
	for _, c := range l.Inside {
		if err := x.leaf(c); err != nil {
			return err
		}
	}
	return nil
}

// write makes a new file. A name that is taken, by case or by what was changed
// in it, gets a number.
func (x *extractor) write(name string, b []byte) error {
	dir := path.Dir(name)
	for err := x.root.MkdirAll(dir, 0o755); err != nil; err = x.root.MkdirAll(dir, 0o755) {
		// A part that was written has the folder's name.
		if len(dir) > len(path.Dir(name))+8*(1+strings.Count(name, "/")) {
			return err
		}
		dir = strings.ReplaceAll(dir, "/", "~/") + "~"
	}
	name = path.Join(dir, path.Base(name))
	for n := 1; ; n++ {
		try := name
		if n > 1 {
			try = fmt.Sprintf("%s~%d", name, n)
		}
		f, err := x.root.OpenFile(try, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		x.written++
		return errors.Join(err, f.Close())
	}
}

const maxSegment = 100

// safePath is a leaf's path with nothing in it but what every file system
// takes as it is.
func safePath(p string) string {
	segments := strings.Split(p, "/")
	for i, s := range segments {
		s = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.+#", r) {
				return r
			}
			return '_'
		}, s)
		if s = strings.TrimLeft(s, "."); s == "" {
			s = "_"
		}
		segments[i] = s[:min(len(s), maxSegment)]
	}
	return strings.Join(segments, "/")
}
