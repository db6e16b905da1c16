package server

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/internal/ids"
)

// chassisFacts are numbers of a chassis that nobody else may have. What vendors
// left as it came is no number.
func chassisFacts(c fleet.Chassis) []fleet.Fact {
	var out []fleet.Fact
	for _, f := range []fleet.Fact{{Kind: "serial", Value: strings.ToUpper(strings.TrimSpace(c.Serial))}, {Kind: "uuid", Value: strings.ToLower(strings.TrimSpace(c.UUID))}} {
		if _, none := ids.Placeholder(f.Value); f.Value == "" || none {
			continue
		}
		if f.Kind == "serial" { // serial numbers are unique with a maker
			f.Value = strings.ToUpper(strings.TrimSpace(c.Manufacturer)) + " " + f.Value
		}
		out = append(out, f)
	}
	return out
}

// partFacts are serial numbers and addresses of parts.
func partFacts(inv *bom.Inventory) []fleet.Fact {
	var out []fleet.Fact
	for i := range inv.Parts {
		p := &inv.Parts[i]
		serial := strings.TrimSpace(p.Identity.Serial)
		if serial == "" || p.Volatile != "" {
			continue
		}
		switch {
		case strings.HasPrefix(serial, "dsn:"):
			out = append(out, fleet.Fact{Kind: "dsn", Value: strings.TrimPrefix(serial, "dsn:")})
		case p.Class == bom.Network && strings.Count(serial, ":") == 5:
			out = append(out, fleet.Fact{Kind: "mac", Value: strings.ToLower(serial)})
		case slices.Contains([]bom.Class{bom.Memory, bom.Storage, bom.Baseboard, bom.Power}, p.Class):
			out = append(out, fleet.Fact{Kind: string(p.Class), Value: strings.ToUpper(p.Identity.Maker + " " + p.Identity.PartNumber + p.Identity.Model + " " + serial)})
		}
	}
	return out
}

// profileOf groups machines that should be alike: one board of one maker.
func profileOf(inv *bom.Inventory) (p fleet.Profile, ok bool) {
	var texts []string
	for _, class := range []bom.Class{bom.System, bom.Baseboard} {
		for i := range inv.Parts {
			if id := inv.Parts[i].Identity; inv.Parts[i].Class == class {
				texts = append(texts, strings.TrimSpace(id.Maker+" "+id.Model))
				break
			}
		}
	}
	name := strings.Join(slices.Compact(texts), ", ")
	if strings.TrimSpace(name) == "" {
		return p, false
	}
	sum := sha256.Sum256([]byte(strings.ToLower(name)))
	return fleet.Profile{ID: hex.EncodeToString(sum[:8]), Name: name}, true
}

// features are what machines of a profile have in common, in words that a reader
// of a list of outliers understands: how many of which part, which versions, what
// the firmware measured.
func features(inv *bom.Inventory, pcrs map[int]string) []string {
	count := map[string]int{}
	var out []string
	for i := range inv.Parts {
		p := &inv.Parts[i]
		if p.Volatile != "" {
			continue
		}
		what := string(p.Class) + " " + strings.Join(strings.Fields(p.Identity.Maker+" "+p.Identity.Model+" "+p.Identity.PartNumber), " ")
		count[what]++
		if p.Identity.Firmware != "" {
			out = append(out, "firmware "+what+": "+p.Identity.Firmware)
		}
	}
	for what, n := range count {
		out = append(out, "part "+what+" x"+strconv.Itoa(n))
	}
	for pcr, v := range pcrs {
		out = append(out, "pcr "+strconv.Itoa(pcr)+" "+v)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
