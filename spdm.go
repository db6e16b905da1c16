package assay

import (
	"slices"

	"github.com/assay-hw/assay/attest/spdm"
)

// compareSPDM holds what devices signed of themselves against what the manifest
// declares of them.
func (a *appraisal) compareSPDM() {
	c := spdm.Match(a.golden.SPDM, a.devices, spdm.Params{Nonce: a.Nonce, NonceGiven: a.Nonce != nil, Now: a.Now})
	a.signed = c
	a.found = append(a.found, c.Findings...)
	a.result.Devices = c.Coverage
	for _, n := range c.NotChecked {
		a.skip(n.What, n.Reason)
	}
}

// devices declares what the devices of known-good units signed. Nobody else
// may say it for them.
func (d *drafter) devices() {
	var seen []*spdm.Observation
	for _, u := range d.units {
		seen = append(seen, u.devices)
	}
	refs, notes := spdm.Draft(d.opt.Scope == Machine, seen...)
	d.out.SPDM = refs
	for _, n := range notes {
		d.note("%s", n)
	}
	for i, r := range refs {
		if slices.Contains(bmcNames, r.Device) {
			d.out.SPDM[i].Class = "bmc"
		}
	}
}

// bmcNames are names under which management controllers sign; a signer who
// knows better sets the class of the line.
var bmcNames = []string{"spdm:bmc", "spdm:BMC"}
