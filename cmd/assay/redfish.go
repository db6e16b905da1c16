package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/collect/redfish"
)

// controllers makes the source that --redfish asks for, and what remembers the
// controllers it meets. Name and password come from the environment, or the
// password from a file that it names: a command line is seen by every user of a
// machine.
func (o *scanOptions) controllers() (collect.Extra, func() error, error) {
	var none collect.Extra
	password := os.Getenv("REDFISH_PASSWORD")
	if f := os.Getenv("REDFISH_PASSWORD_FILE"); f != "" && len(o.redfish) > 0 {
		b, err := readInput(f, 4<<10)
		if err != nil {
			return none, nil, err
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	pins, err := loadPins(o.pins)
	if err != nil {
		return none, nil, err
	}
	met := map[string]string{}
	var cs []redfish.Controller
	for _, raw := range o.redfish {
		c := redfish.Controller{
			URL: raw, User: os.Getenv("REDFISH_USER"), Password: password, Session: o.session,
			Contact: func(host, pin string) { met[host] = pin },
		}
		if u, err := url.Parse(raw); err == nil {
			c.Pin = pins[u.Host]
		}
		cs = append(cs, c)
	}
	x, err := redfish.Source(cs...)
	if err != nil {
		return none, nil, usage("%v", err)
	}
	return x, func() error { return savePins(o.pins, pins, met) }, nil
}

// loadPins reads lines of a host and the SHA-256 of its certificate. A file that
// is not there yet has none.
func loadPins(path string) (map[string]string, error) {
	pins := map[string]string{}
	if path == "" {
		return pins, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pins, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	for n, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 2 {
			return nil, unreadable(fmt.Errorf("%s: line %d: want a host and a SHA-256", path, n+1))
		}
		pins[f[0]] = f[1]
	}
	return pins, nil
}

// savePins remembers the controllers that were met for the first time.
func savePins(path string, pins, met map[string]string) error {
	if path == "" || len(met) == 0 {
		return nil
	}
	maps.Copy(pins, met)
	var b bytes.Buffer
	for _, h := range slices.Sorted(maps.Keys(pins)) {
		fmt.Fprintf(&b, "%s %s\n", h, pins[h])
	}
	return writeFile(path, b.Bytes())
}
