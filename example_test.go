package assay_test

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/manifest"
)

// A manifest is drafted from a known-good unit and signed; then a machine is held
// against it.
func ExampleVerify() {
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	golden, err := sign("testdata/machines/baseline.evidence.zip", now)
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := evidence.Open("testdata/machines/baseline.evidence.zip", evidence.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	trust, err := manifest.LoadTrust([]string{"testdata/keys/trust"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := assay.Verify(assay.Case{Evidence: machine, Golden: [][]byte{golden}, Trust: trust, Now: now})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Verdict, r.Verdict.ExitCode(), r.Assurance.Level)
	for _, q := range r.Required {
		fmt.Println(q.What, q.Proved)
	}
	// Output:
	// pass 0 L4
	// manifest true
	// classes true
	// quote true
	// log true
}

// sign drafts a manifest for one machine from its evidence and signs it.
func sign(unit string, now time.Time) ([]byte, error) {
	b, err := evidence.Open(unit, evidence.Limits{})
	if err != nil {
		return nil, err
	}
	m, _, err := assay.Draft([]*evidence.Bundle{b}, assay.DraftOptions{Now: now})
	if err != nil {
		return nil, err
	}
	raw, err := manifest.Encode(m)
	if err != nil {
		return nil, err
	}
	key, err := keystore.Open(context.Background(), "testdata/keys/vendor.key", keystore.Options{})
	if err != nil {
		return nil, err
	}
	chain, err := keystore.ReadChain("testdata/keys/vendor.pem")
	if err != nil {
		return nil, err
	}
	return manifest.Sign(raw, key, chain)
}

// Notes are what the signer of a draft accepts: contradictions that the reference
// unit has already.
func ExampleDraft() {
	b, err := evidence.Open("testdata/machines/baseline.evidence.zip", evidence.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	m, notes, err := assay.Draft([]*evidence.Bundle{b}, assay.DraftOptions{Now: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Environment.Manufacturer, m.Environment.Model, len(m.Components), "components")
	fmt.Println(notes[0])
	// Output:
	// Assay Lab Computer Inc. SYS-6029LAB-TR 60 components
	// the reference evidence comes from a virtual machine (hypervisor bit of CPUID); the manifest expects one
}

// A policy says what has to be proved. What it does not know it refuses, so that a
// typing error never makes it weaker.
func ExampleParsePolicy() {
	p, err := assay.ParsePolicy([]byte("id: rack-7\nextends: default\nrequire: [seal, fresh]\nmaxEvidenceAge: 24h\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.ID, p.Require)

	_, err = assay.ParsePolicy([]byte("id: rack-7\nrequires: [seal]\n"))
	fmt.Println(err != nil)
	// Output:
	// rack-7 [manifest classes quote log seal fresh]
	// true
}
