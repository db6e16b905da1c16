package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// readLicences recognises the licences in the files at the root of a module. Each
// has to be allowed, and one of them where the holders leave the choice.
func (m *module) readLicences(root string) error {
	if m.Dir == "" {
		raw, err := goTool(root, "mod", "download", "-json", m.Path+"@"+m.Version)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, m); err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return err
	}
	spdx := regexp.MustCompile(`SPDX-License-Identifier: ([\w.-]+(?: OR [\w.-]+)*)`)
	is := regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying|^copyright`)
	for _, e := range entries {
		if e.IsDir() || !is.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".docs") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			return err
		}
		for _, found := range licensecheck.Scan(text).Match {
			if !found.IsURL {
				m.licences = append(m.licences, found.ID)
			}
		}
		if said := spdx.FindSubmatch(text); said != nil { // a choice that the text spells in words of its own
			m.choice = strings.Split(string(said[1]), " OR ")
			m.licences = append(m.licences, m.choice...)
		}
	}
	slices.Sort(m.licences)
	m.licences = slices.Compact(m.licences)
	return nil
}

// permitted reports whether a module may be linked.
func (m *module) permitted() bool {
	ok := func(l string) bool { return slices.Contains(allowed(), l) }
	if m.choice != nil {
		return slices.ContainsFunc(m.choice, ok)
	}
	return !slices.ContainsFunc(m.licences, func(l string) bool { return !ok(l) })
}
