package measured

import (
	"crypto"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/amdfw"
)

const contentsEvent = "EV_S_CRTM_CONTENTS"

// silicon says what is measured before the reset vector: on Intel by the startup
// ACM, on AMD by the security processor.
func (p *Prediction) silicon(m *firmware.Image) {
	if g, ok := m.BootGuard(); ok {
		p.bootGuard(g)
	}
	if f, ok := m.AMD(); ok {
		p.amd(m, f)
	}
}

// bootGuard adds the event over PCR0_DATA, the first in PCR 0 of a machine whose
// fuses have Boot Guard measure, at locality 3 (converged-security-suite,
// pkg/bootflow: MeasurePCR0DATA).
func (p *Prediction) bootGuard(g firmware.BootGuard) {
	const what = "PCR 0: " + contentsEvent
	length, err := g.PCR0Length(crypto.SHA256)
	if err != nil {
		p.cannot(what, err.Error())
		return
	}
	p.Events = slices.Insert(p.Events, 0, Expected{
		Type: contentsEvent, Length: int64(length), Source: "PCR0_DATA",
		Rule: "startup ACM, where Boot Guard measures: the status of its policy, the ACM's SVN and signature, those of the manifests, and the digest of the initial boot block",
	})
	p.cannot(what, "the status of the policy is the machine's; all else is in the image, so that a logged digest can be explained")
}

// amd says what the security processor may measure. No specification is public;
// the order is what others saw in logs of servers (converged-security-suite,
// pkg/bootflow/flows/amd.go), so that the digests are named and not predicted.
func (p *Prediction) amd(m *firmware.Image, f amdfw.Firmware) {
	const reason = "what AMD's security processor measures is not specified in public; seen in logs of EPYC servers"
	n := 0
	for _, d := range f.Directories {
		for _, e := range d.Entries {
			if e.Offset < 0 || e.Outside {
				continue
			}
			b := m.Bytes()[e.Offset : e.Offset+e.Length]
			switch {
			case (d.Name == "psp" || d.Name == "psp-l2") && e.Type == 0x01 && e.Header != nil:
				b = b[0x60:0x64] // the version alone
			case (d.Name == "bios" || d.Name == "bios-l2") && (e.Type == 0x62 || e.Type >= 0x64 && e.Type <= 0x66):
			default:
				continue
			}
			if n++; n > maxNamed {
				break
			}
			p.cannot(fmt.Sprintf("PCR 0: %s/%s", d.Name, e.Label()), fmt.Sprintf("%s: %d bytes with sha256:%s", reason, len(b), sumOf(crypto.SHA256, b)))
		}
	}
	if n == 0 {
		p.cannot("PCR 0: AMD", reason)
	}
}

// maxNamed bounds the list of what the security processor may measure.
const maxNamed = 64
