package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/licensecheck"
	"golang.org/x/mod/module"
)

// licence is a file of a module that says under which terms it may be used, or
// whom to name.
type licence struct {
	file string
	text []byte
	ids  []string // SPDX
}

var licenceFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|copyright|notice|patents)([-._].*)?$`)

// aside are files that go along with a module, and are no licence of its code.
var aside = regexp.MustCompile(`(?i)^(notice|patents|copyright)|[-._]docs`)

// directory is where a module's files are.
func (r *release) directory(m debug.Module) (string, error) {
	if m.Path == standard {
		return r.goroot, nil
	}
	p, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	v, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	return filepath.Join(r.cache, filepath.FromSlash(p)+"@"+v), nil
}

// licences reads those files of a module. One without is an error: what it may
// be used for would be unknown.
func (r *release) licences(m debug.Module) ([]licence, error) {
	dir, err := r.directory(m)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []licence
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		l := licence{file: e.Name(), text: text}
		if !aside.MatchString(e.Name()) {
			for _, match := range licensecheck.Scan(text).Match {
				if !match.IsURL {
					l.ids = append(l.ids, match.ID)
				}
			}
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no licence in %s", dir)
	}
	if len(identifiers(out)) == 0 {
		return nil, fmt.Errorf("no licence that is known in %s", dir)
	}
	return out, nil
}

func identifiers(texts []licence) []string {
	var out []string
	for _, l := range texts {
		out = append(out, l.ids...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// thirdParty are the licences of all that is linked into these programs, each
// text once: most of them ask to go along with the program.
func (r *release) thirdParty(programs ...string) ([]byte, error) {
	modules := map[string]debug.Module{}
	for _, p := range programs {
		info, err := buildinfo.ReadFile(p)
		if err != nil {
			return nil, err
		}
		for _, m := range linked(info) {
			modules[m.Path+"@"+m.Version] = m
		}
	}
	users := map[string][]string{}
	for key, m := range modules {
		ls, err := r.licences(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		for _, l := range ls {
			text := string(bytes.TrimSpace(bytes.ReplaceAll(l.text, []byte("\r\n"), []byte("\n"))))
			users[text] = append(users[text], key+" ("+l.file+")")
		}
	}
	for _, e := range embeddings { // all of them: the larger program has each
		b, err := r.embeddedLicence(e)
		if err != nil {
			return nil, err
		}
		text := string(bytes.TrimSpace(b))
		users[text] = append(users[text], e.name+" "+e.version+" ("+filepath.Base(e.licence)+")")
	}
	order := make([]string, 0, len(users))
	for text := range users {
		slices.Sort(users[text])
		order = append(order, text)
	}
	slices.SortFunc(order, func(a, b string) int { return slices.Compare(users[a], users[b]) })
	var b bytes.Buffer
	fmt.Fprintf(&b, "The programs contain %d modules by others, under these licences.\n", len(modules))
	for _, text := range order {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 78), strings.Join(users[text], "\n"), text)
	}
	return b.Bytes(), nil
}
