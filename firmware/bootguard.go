package firmware

import (
	"fmt"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/bootguard"
	"github.com/assay-hw/assay/internal/fit"
)

// BootGuard is what Intel's processors check and measure of an image before the
// reset vector, with the outcome of each check. Whether a machine does check is
// for its fuses to say.
type BootGuard struct {
	Modules    []bootPart      `json:"modules,omitempty"`   // authenticated code modules
	Manifests  []bootPart      `json:"manifests,omitempty"` // of keys and of the boot policy
	Key        bootguard.Check `json:"key"`                 // the key manifest names the key of the boot policy
	Block      bootguard.Check `json:"block"`               // the initial boot block has the digests of the boot policy
	Outside    []string        `json:"outside,omitempty"`   // segments of the block that are not in the image
	BlockBytes int64           `json:"blockBytes"`          // of the image, in the initial boot block

	modules  []bootguard.Module
	keys     []bootguard.KeyManifest
	policies []bootguard.BootPolicy
}

// bootPart is a signed part that the firmware interface table names.
type bootPart struct {
	Name      string          `json:"name"`
	Offset    int             `json:"offset"`
	Length    int             `json:"length"`
	Version   string          `json:"version"`
	Signer    string          `json:"signer,omitempty"` // sha256 of the RSA modulus as stored
	Signature bootguard.Check `json:"signature"`
}

// mapped is the part of the image that the processor sees below 4 GiB.
func (m *Image) mapped() []byte {
	end := len(m.data)
	if d, ok := m.Descriptor(); ok {
		for _, r := range d.Regions {
			if r.Name == "bios" && r.End <= end {
				end = r.End
			}
		}
	}
	return m.data[:end]
}

// Bounds of what is read and hashed: manifests with RSA keys of 4096 bits have
// 3 KiB, code modules up to 512 KiB, one for each kind of processor in the socket.
const (
	maxManifest  = 16 << 10
	maxManifests = 4
	maxModule    = 2 << 20
	maxModules   = 16
)

// BootGuard reads what the firmware interface table names. It reports whether
// the table names anything that is signed.
func (m *Image) BootGuard() (BootGuard, bool) {
	table, ok := m.FIT()
	if !ok {
		return BootGuard{}, false
	}
	image := m.mapped()
	var g BootGuard
	for _, e := range table.Entries {
		if e.Offset < 0 {
			continue
		}
		body := image[e.Offset:]
		switch {
		case (e.Type == fit.StartupACM || e.Type == fit.DiagnosticACM) && len(g.Modules) < maxModules:
			g.module(e, body[:min(len(body), maxModule)])
		case e.Type == fit.KeyManifest && len(g.Manifests) < maxManifests:
			g.keyManifest(e, body[:min(len(body), maxManifest)])
		case e.Type == fit.BootPolicy && len(g.Manifests) < maxManifests:
			g.bootPolicy(e, body[:min(len(body), maxManifest)])
		}
	}
	if len(g.Modules)+len(g.Manifests) == 0 {
		return BootGuard{}, false
	}
	g.Key, g.Block = g.checkKey(), g.checkBlock(image)
	return g, true
}

func (g *BootGuard) module(e fit.Entry, body []byte) {
	p := bootPart{Name: e.Type.String(), Offset: e.Offset, Length: e.Length}
	a, ok := bootguard.ParseModule(body)
	if !ok {
		p.Signature = bootguard.Check{State: bootguard.NotChecked, Reason: "the header is not one that is known here"}
		g.Modules = append(g.Modules, p)
		return
	}
	p.Version = fmt.Sprintf("header %s, chipset %04X of %s, TXT SVN %d, SE SVN %d", a.Format, a.Chipset, a.Date, a.TXTSVN, a.SESVN)
	switch {
	case a.Debug:
		p.Version += ", for debugging"
	case a.PreProduction:
		p.Version += ", pre-production"
	}
	p.Signature = a.Verify()
	g.Modules = append(g.Modules, p)
	if e.Type == fit.StartupACM {
		g.modules = append(g.modules, a)
	}
}

// manifest adds a manifest with the state of its signature.
func (g *BootGuard) manifest(e fit.Entry, version string, s bootguard.Signature, err error) {
	p := bootPart{Name: e.Type.String(), Offset: e.Offset, Length: e.Length, Version: version}
	if err != nil {
		p.Signature = bootguard.Check{State: bootguard.NotChecked, Reason: err.Error()}
		g.Manifests = append(g.Manifests, p)
		return
	}
	p.Signature = s.Verify()
	if s.Key.Algorithm == bootguard.RSA && len(s.Key.Data) > 4 {
		p.Signer = digest(s.Key.Data[4:])
	}
	g.Manifests = append(g.Manifests, p)
}

func (g *BootGuard) keyManifest(e fit.Entry, body []byte) {
	km, err := bootguard.ParseKeyManifest(body)
	g.manifest(e, fmt.Sprintf("%d.%d, SVN %d, id %d", km.Version>>4, km.Version&0xf, km.SVN, km.ID), km.Signature, err)
	if err == nil {
		g.keys = append(g.keys, km)
	}
}

func (g *BootGuard) bootPolicy(e fit.Entry, body []byte) {
	bpm, err := bootguard.ParseBootPolicy(body)
	g.manifest(e, fmt.Sprintf("%d.%d, SVN %d, ACM SVN %d or newer", bpm.Version>>4, bpm.Version&0xf, bpm.SVN, bpm.ACMSVN), bpm.Signature, err)
	if err == nil {
		g.policies = append(g.policies, bpm)
	}
}

func (g *BootGuard) checkKey() bootguard.Check {
	if len(g.keys) != 1 || len(g.policies) != 1 {
		return bootguard.Check{State: bootguard.NotChecked, Reason: fmt.Sprintf("the image has %d key manifests and %d boot policies, one each is needed", len(g.keys), len(g.policies))}
	}
	return g.keys[0].Allows(g.policies[0])
}

// checkBlock checks the digests of every boot policy and block. One that fails
// counts before one that holds.
func (g *BootGuard) checkBlock(image []byte) bootguard.Check {
	out := bootguard.Check{State: bootguard.NotChecked, Reason: "the image has no boot policy"}
	for _, p := range g.policies {
		for _, b := range p.Blocks {
			for _, s := range b.Segments {
				if s.Hashed {
					g.BlockBytes += int64(s.Length)
				}
			}
			c, outside := b.Verify(image)
			for _, s := range outside {
				g.Outside = append(g.Outside, fmt.Sprintf("%08x +%x", s.Base, s.Length))
			}
			if out.State != bootguard.Fails && (c.State != bootguard.NotChecked || out.State == bootguard.NotChecked) {
				out = c
			}
		}
	}
	return out
}

// signed returns what does not hold of the image's signed parts. An image that
// was not read completely says nothing about them.
func (m *Image) signed() []finding.Finding {
	g, ok := m.BootGuard()
	if !ok || m.Reason != "" {
		return nil
	}
	var out []finding.Finding
	add := func(code finding.Code, path, want, why string, at, length int) {
		f := finding.New(code, "firmware:"+m.Name+"/FIT/"+path)
		f.Want, f.Got, f.Why = want, string(bootguard.Fails), why
		f.Sources = []finding.Source{finding.PartMemory}
		f.Basis = []finding.Basis{{Artifact: m.Artifact, SHA256: m.SHA256, Offset: int64(at), Length: int64(length)}}
		out = append(out, f)
	}
	for _, p := range append(g.Modules, g.Manifests...) {
		if p.Signature.State == bootguard.Fails {
			add(finding.VendorSignatureInvalid, p.Name, "a signature that holds", fmt.Sprintf("the signature of the %s does not hold: %s", p.Name, p.Signature.Reason), p.Offset, p.Length)
		}
	}
	if g.Key.State == bootguard.Fails {
		add(finding.VendorSignatureInvalid, "boot policy key", "a key that the key manifest names", g.Key.Reason, 0, 0)
	}
	if g.Block.State == bootguard.Fails {
		add(finding.VendorSignatureInvalid, "initial boot block", "the digest of the boot policy", g.Block.Reason, 0, 0)
	}
	for _, s := range g.Outside {
		add(finding.ManagementEngineAnomaly, "initial boot block "+s, "a range in the image", "the boot policy names a range that the image does not have", 0, 0)
	}
	return out
}
