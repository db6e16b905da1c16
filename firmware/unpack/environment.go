package unpack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/uboot"
)

// entries are variables that U-Boot, or the kernel that it starts, runs or obeys
// without being told to; what they run is found in their values.
var entries = []string{
	"bootcmd", "bootargs", "preboot", "altbootcmd", "setbootargs", "set_bootargs", "obmc_bootcmd", "kernelcmd", "bootfile", "bootdelay", "verify", "init", "rootpath",
	"console", "openbmcinit", "openbmconce", "bootmenu_0", "failbootcmd", "menucmd",
}

// openEnvironment makes a file of every variable. Where there are two copies,
// the boot loader takes the newer one, and what is newer it alone knows: the
// value in the other copy is one more file when it differs, and so is that it has
// none.
func openEnvironment(b []byte, _ int) (firmware.Archive, error) {
	copies := uboot.Copies(b)
	if len(copies) == 0 {
		return firmware.Archive{}, errors.New("no environment")
	}
	a := firmware.Archive{}
	values := map[string][]string{}
	var names []string
	for _, c := range copies {
		if c.More {
			return a, fmt.Errorf("%w of variables", firmware.ErrLimit)
		}
		a.Used = max(a.Used, c.Offset+c.Size)
		for _, v := range c.Variables {
			if _, ok := values[v.Name]; !ok {
				names = append(names, v.Name)
			}
			if !slices.Contains(values[v.Name], v.Value) {
				values[v.Name] = append(values[v.Name], v.Value)
			}
		}
	}
	run := reached(values)
	for _, n := range names {
		kind := firmware.Data
		if run[n] {
			kind = firmware.Code
		}
		for i, v := range values[n] {
			f := firmware.File{Path: n, Kind: kind, Type: firmware.VariableType, Name: n, Content: []byte(v), Rewritten: volatileVariable(n)}
			if v == "" {
				f.Content = []byte("=")
			}
			if i > 0 {
				if volatileVariable(n) {
					continue
				}
				sum := sha256.Sum256(f.Content)
				f.Type, f.Path = firmware.SupersededType, fmt.Sprintf("%s~%x", n, sum[:6])
			}
			a.Files = append(a.Files, f)
		}
		if run[n] && slices.ContainsFunc(copies, func(c uboot.Environment) bool { return !c.Has(n) }) {
			a.Files = append(a.Files, firmware.File{Path: n + "~none", Kind: kind, Type: firmware.SupersededType, Name: n, Content: []byte("no such variable")})
		}
	}
	return a, nil
}

// reached are the variables that booting comes to: the entries, and all that a
// value of one that is reached names.
func reached(values map[string][]string) map[string]bool {
	out := map[string]bool{}
	var queue []string
	add := func(n string) {
		if _, ok := values[n]; ok && !out[n] && !volatileVariable(n) {
			out[n] = true
			queue = append(queue, n)
		}
	}
	for _, n := range entries {
		add(n)
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, v := range values[n] {
			for _, word := range strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(" \t\n;|&(){}$\"'=,", r) }) {
				add(word)
			}
		}
	}
	return out
}
