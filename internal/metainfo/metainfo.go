// Package metainfo reads what a vendor says of its firmware beside it: AppStream
// metainfo as the Linux Vendor Firmware Service has it (AppStream 1.0, "firmware",
// and the LVFS documentation).
//
// It proves what the text says. Whether its checksums hold is for who has the
// files, and nothing here says who wrote it.
package metainfo

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
)

// ErrMalformed is wrapped when the text is no metainfo of firmware.
var ErrMalformed = errors.New("malformed metainfo")

// Bounds of one text.
const (
	MaxSize    = 1 << 20
	maxText    = 256
	maxEntries = 256
)

// Component is one component: firmware for some devices, in its releases.
type Component struct {
	ID, Name     string
	Provides     []string // GUIDs of firmware, as fwupd asks for them
	Requirements []string
	Releases     []Release
}

// Release is one version.
type Release struct {
	Version   string
	Timestamp string
	Urgency   string
	Checksums []Checksum
}

// Checksum is a digest that the release gives.
type Checksum struct {
	Target   string // "content", "container", "device" (what the device reports afterwards, PCR 0 for the system's firmware)
	Type     string // "sha1", "sha256"
	Filename string
	Value    string // lower case
}

// component follows the elements.
type component struct {
	XMLName  xml.Name
	Type     string `xml:"type,attr"`
	ID       string `xml:"id"`
	Name     string `xml:"name"`
	Provides struct {
		Firmware []struct {
			Type string `xml:"type,attr"`
			Text string `xml:",chardata"`
		} `xml:"firmware"`
	} `xml:"provides"`
	Requires struct {
		All []struct {
			XMLName xml.Name
			Compare string `xml:"compare,attr"`
			Version string `xml:"version,attr"`
			Text    string `xml:",chardata"`
		} `xml:",any"`
	} `xml:"requires"`
	Releases struct {
		All []release `xml:"release"`
	} `xml:"releases"`
}

type release struct {
	Version   string     `xml:"version,attr"`
	Timestamp string     `xml:"timestamp,attr"`
	Date      string     `xml:"date,attr"`
	Urgency   string     `xml:"urgency,attr"`
	Checksums []checksum `xml:"checksum"`
	Artifacts struct {
		All []struct {
			Filename  string     `xml:"filename"`
			Checksums []checksum `xml:"checksum"`
		} `xml:"artifact"`
	} `xml:"artifacts"`
}

type checksum struct {
	Target   string `xml:"target,attr"`
	Type     string `xml:"type,attr"`
	Filename string `xml:"filename,attr"`
	Text     string `xml:",chardata"`
}

// Parse reads a text. Lists are cut at 256 entries and words at 256 bytes.
func Parse(b []byte) (Component, error) {
	if len(b) > MaxSize {
		return Component{}, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxSize)
	}
	var c component
	if err := xml.Unmarshal(b, &c); err != nil {
		return Component{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if c.XMLName.Local != "component" || word(c.ID) == "" {
		return Component{}, fmt.Errorf("%w: no component with an id", ErrMalformed)
	}
	out := Component{ID: word(c.ID), Name: word(c.Name)}
	for _, f := range first(c.Provides.Firmware) {
		out.Provides = append(out.Provides, strings.ToLower(word(f.Text)))
	}
	for _, q := range first(c.Requires.All) {
		out.Requirements = append(out.Requirements, strings.Join(strings.Fields(word(q.XMLName.Local+" "+q.Text+" "+q.Compare+" "+q.Version)), " "))
	}
	for _, r := range first(c.Releases.All) {
		out.Releases = append(out.Releases, r.read())
	}
	return out, nil
}

func (r release) read() Release {
	out := Release{Version: word(r.Version), Timestamp: word(r.Timestamp), Urgency: word(r.Urgency)}
	if out.Timestamp == "" {
		out.Timestamp = word(r.Date)
	}
	add := func(c checksum, target, file string) {
		if c.Target != "" {
			target = word(c.Target)
		}
		if c.Filename != "" {
			file = word(c.Filename)
		}
		out.Checksums = append(out.Checksums, Checksum{Target: target, Type: strings.ToLower(word(c.Type)), Filename: file, Value: strings.ToLower(word(c.Text))})
	}
	for _, c := range first(r.Checksums) {
		add(c, "container", "")
	}
	for _, a := range first(r.Artifacts.All) {
		for _, c := range first(a.Checksums) {
			add(c, "content", word(a.Filename))
		}
	}
	if len(out.Checksums) > maxEntries {
		out.Checksums = out.Checksums[:maxEntries]
	}
	return out
}

func first[T any](s []T) []T { return s[:min(len(s), maxEntries)] }

func word(s string) string {
	s = strings.TrimSpace(s)
	return s[:min(len(s), maxText)]
}
