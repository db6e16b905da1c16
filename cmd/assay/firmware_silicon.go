package main

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/amdfw"
	"github.com/assay-hw/assay/internal/bootguard"
	"github.com/assay-hw/assay/internal/me"
	"github.com/assay-hw/assay/report"
)

// silicon is what firmware list shows of the makers of processors.
type silicon struct {
	Engine    *me.Region          `json:"managementEngine,omitempty"`
	BootGuard *firmware.BootGuard `json:"bootGuard,omitempty"`
	AMD       *amdfw.Firmware     `json:"amd,omitempty"`
}

func siliconOf(m *firmware.Image) silicon {
	var s silicon
	if r, ok := m.ManagementEngine(); ok {
		s.Engine = &r
	}
	if g, ok := m.BootGuard(); ok {
		s.BootGuard = &g
	}
	if f, ok := m.AMD(); ok {
		s.AMD = &f
	}
	return s
}

func (s silicon) text(w io.Writer) {
	if s.Engine != nil {
		writeEngine(w, s.Engine)
	}
	if s.BootGuard != nil {
		writeBootGuard(w, s.BootGuard)
	}
	if s.AMD != nil {
		writeAMD(w, s.AMD)
	}
}

func writeEngine(w io.Writer, r *me.Region) {
	version := r.Version
	if version == "" {
		version = "of unknown version"
	}
	fmt.Fprintf(w, "  management engine %s, %s\n", report.Plain(version), r.Format)
	for _, p := range r.Parts {
		if p.Kind == me.Header {
			continue
		}
		what := map[me.Kind]string{me.Code: "code", me.Data: "data", me.Written: "written by the engine"}[p.Kind]
		if m := p.Manifest; m != nil {
			what += fmt.Sprintf(", %s of %s, SVN %d", m.Version, m.Date, m.SVN)
			if m.Debug {
				what += ", signed for debugging"
			}
		}
		fmt.Fprintf(w, "    %-12s at %08x +%-6x %s\n", report.Plain(p.Name), p.Offset, p.Length, report.Plain(what))
	}
}

func writeBootGuard(w io.Writer, g *firmware.BootGuard) {
	fmt.Fprintln(w, "  Boot Guard")
	for _, p := range slices.Concat(g.Modules, g.Manifests) {
		fmt.Fprintf(w, "    %-20s %s\n", p.Name, report.Plain(p.Version))
		fmt.Fprintf(w, "      signature %s\n", report.Plain(outcome(p.Signature)))
		if p.Signer != "" {
			fmt.Fprintf(w, "      signer's key sha256:%s\n", p.Signer)
		}
	}
	if len(g.Manifests) > 0 {
		fmt.Fprintf(w, "    key of the boot policy in the key manifest: %s\n", report.Plain(outcome(g.Key)))
		fmt.Fprintf(w, "    digest of the initial boot block (%d bytes): %s\n", g.BlockBytes, report.Plain(outcome(g.Block)))
	}
}

func outcome(c bootguard.Check) string {
	if c.Reason == "" {
		return string(c.State)
	}
	return string(c.State) + ": " + c.Reason
}

func writeAMD(w io.Writer, f *amdfw.Firmware) {
	fmt.Fprintln(w, "  AMD firmware")
	for _, d := range f.Directories {
		note := ""
		if d.For != "" {
			note = ", " + d.For
		}
		if d.Damaged {
			note += ", checksum wrong"
		}
		fmt.Fprintf(w, "    directory %s at %08x, %d entries%s\n", d.Name, d.Offset, len(d.Entries), note)
		for _, e := range d.Entries {
			fmt.Fprintf(w, "      %-24s %s\n", report.Plain(e.Name), report.Plain(strings.Join(entryFacts(e), ", ")))
		}
	}
}

// entryFacts says where an entry is and what its header says.
func entryFacts(e amdfw.Entry) []string {
	var out []string
	switch {
	case e.Outside:
		return []string{"outside of the flash"}
	case e.Pointer:
		return []string{"another directory"}
	case e.Offset < 0:
		return []string{"not in the flash"}
	}
	out = append(out, fmt.Sprintf("at %08x +%x", e.Offset, e.Length))
	if e.Instance != 0 || e.Program != 0 {
		out = append(out, fmt.Sprintf("instance %x, program %x", e.Instance, e.Program))
	}
	if e.Kind == amdfw.Written {
		out = append(out, "written in operation")
	}
	if h := e.Header; h != nil {
		out = append(out, "version "+h.Version)
		for _, a := range []struct {
			is   bool
			name string
		}{{h.Signed, "signed"}, {h.Encrypted, "encrypted"}, {h.Compressed, "compressed"}} {
			if a.is {
				out = append(out, a.name)
			}
		}
	}
	return out
}

// explanation says whether an image gives a logged digest of PCR0_DATA, and with
// which value of ACM_POLICY_STATUS.
type explanation struct {
	Digest string `json:"digest"`
	Found  bool   `json:"found"`
	Status string `json:"acmPolicyStatus,omitempty"`
}

func explain(m *firmware.Image, logged string) (*explanation, error) {
	raw, err := hex.DecodeString(strings.TrimSpace(logged))
	bank := map[int]crypto.Hash{20: crypto.SHA1, 32: crypto.SHA256, 48: crypto.SHA384}[len(raw)]
	if err != nil || bank == 0 {
		return nil, usage("--explain takes a digest of SHA-1, SHA-256 or SHA-384 in hexadecimal")
	}
	g, ok := m.BootGuard()
	if !ok {
		return nil, usage("the image has no firmware interface table with Boot Guard's parts; there is nothing to explain a digest with")
	}
	if _, err := g.PCR0Data(bank, 0); err != nil {
		return nil, usage("PCR0_DATA cannot be computed: %v", err)
	}
	e := &explanation{Digest: hex.EncodeToString(raw)}
	status, found := g.ExplainPCR0Data(bank, raw)
	if e.Found = found; found {
		e.Status = fmt.Sprintf("%016x", status)
	}
	return e, nil
}

func (e *explanation) text(w io.Writer) {
	switch {
	case e == nil:
	case e.Found:
		fmt.Fprintf(w, "%s is PCR0_DATA of this image with ACM_POLICY_STATUS %s: the processor started with its ACM, its manifests and its initial boot block\n", e.Digest, e.Status)
	default:
		fmt.Fprintf(w, "%s is not PCR0_DATA of this image with any usual ACM_POLICY_STATUS\n", e.Digest)
	}
}
