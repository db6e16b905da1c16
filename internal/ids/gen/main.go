// Command gen writes the identifier tables that package ids embeds, from the
// source files named on its command line. The README of package ids names the
// sources, their versions and licences. The build and the tests do not need
// them.
//
//	go run ./internal/ids/gen -pci pci.ids -usb usb.ids -oui oui.csv -jep106 jep106bn.json -jep106-old codes.json -out internal/ids/data
package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	pci := flag.String("pci", "pci.ids", "pci.ids of the PCI ID project")
	usb := flag.String("usb", "usb.ids", "usb.ids of the linux-usb project")
	oui := flag.String("oui", "oui.csv", "MA-L assignments of the IEEE")
	jep := flag.String("jep106", "jep106.json", "JEP106 list: objects with Bank, Index, Manufacturer")
	old := flag.String("jep106-old", "codes.json", "older JEP106 list that fills holes: array of 256 names per bank")
	out := flag.String("out", "data", "output directory")
	flag.Parse()
	for _, table := range []struct {
		name string
		make func() ([]string, error)
	}{
		{"pci", func() ([]string, error) { return idsFile(*pci, true) }},
		{"class", func() ([]string, error) { return classes(*pci) }},
		{"usb", func() ([]string, error) { return idsFile(*usb, false) }},
		{"oui", func() ([]string, error) { return ouiFile(*oui) }},
		{"jep106", func() ([]string, error) { return jep106(*jep, *old) }},
	} {
		lines, err := table.make()
		if err != nil {
			log.Fatalf("%s: %v", table.name, err)
		}
		n, err := write(filepath.Join(*out, table.name+".lzma"), lines)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d lines, %d bytes\n", table.name, len(lines), n)
	}
}

// write has xz compress a table as an LZMA stream: a sixth less than gzip makes of it,
// and the reader is part of every program anyway, for firmware.
func write(path string, lines []string) (int, error) {
	slices.Sort(lines)
	xz := exec.Command("xz", "--format=lzma", "-9e", "--stdout")
	xz.Stdin, xz.Stderr = strings.NewReader(strings.Join(lines, "\n")+"\n"), os.Stderr
	packed, err := xz.Output()
	if err != nil {
		return 0, fmt.Errorf("xz: %w", err)
	}
	return len(packed), os.WriteFile(path, packed, 0o644)
}

// idsFile reads the shared format of pci.ids and usb.ids: "vvvv  name" and,
// one tab deeper, "dddd  name". Subsystems and the class lists are left out.
func idsFile(path string, devices bool) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entry := regexp.MustCompile(`^(\t?)([0-9a-f]{4})  (.+)$`)
	var out []string
	vendor := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.ToValidUTF8(s.Text(), "?")
		if strings.HasPrefix(line, "C ") || strings.HasPrefix(line, "AT ") {
			break
		}
		m := entry.FindStringSubmatch(line)
		switch {
		case m == nil:
		case m[1] == "":
			vendor = m[2]
			out = append(out, vendor+"\t"+m[3])
		case devices:
			out = append(out, vendor+m[2]+"\t"+m[3])
		}
	}
	return out, nil
}

// classes reads the class list of pci.ids: "C cc  name", one tab deeper the
// subclass, two tabs deeper the programming interface.
func classes(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entry := regexp.MustCompile(`^(C |\t|\t\t)([0-9a-f]{2})  (.+)$`)
	var out []string
	prefix := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		m := entry.FindStringSubmatch(s.Text())
		switch {
		case m == nil, m[1] != "C " && prefix == "":
			continue
		case m[1] == "C ":
			prefix = ""
		case m[1] == "\t":
			prefix = prefix[:2]
		default:
			prefix = prefix[:4]
		}
		out = append(out, prefix+m[2]+"\t"+m[3])
		if m[1] != "\t\t" {
			prefix += m[2]
		}
	}
	return out, nil
}

func ouiFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	// One line per organisation with its prefixes behind it: the list of
	// prefixes compresses better than names repeated per prefix.
	prefixes := map[string][]string{}
	for _, r := range rows[1:] {
		name := strings.Join(strings.Fields(strings.ToValidUTF8(r[2], "?")), " ")
		if name == "" || strings.EqualFold(name, "private") {
			continue
		}
		prefixes[name] = append(prefixes[name], strings.ToLower(r[1]))
	}
	var out []string
	for name, list := range prefixes {
		slices.Sort(list)
		out = append(out, name+"\t"+strings.Join(slices.Compact(list), ""))
	}
	return out, nil
}

func jep106(path, old string) ([]string, error) {
	var list map[string]struct {
		Bank, Index  int
		Manufacturer string
	}
	if err := readJSON(path, &list); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, e := range list {
		names[fmt.Sprintf("%02x%02x", e.Bank-1, e.Index)] = e.Manufacturer
	}
	var older struct{ Manufacturers []*string }
	if err := readJSON(old, &older); err != nil {
		return nil, err
	}
	for i, name := range older.Manufacturers {
		key := fmt.Sprintf("%02x%02x", i/256, i%256)
		if _, ok := names[key]; !ok && name != nil {
			names[key] = *name
		}
	}
	var out []string
	for key, name := range names {
		if code, err := strconv.ParseUint(key[2:], 16, 8); err != nil || code == 0 || code > 126 {
			return nil, fmt.Errorf("entry %q: code out of range", key)
		}
		out = append(out, key+"\t"+strings.Join(strings.Fields(name), " "))
	}
	return out, nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
