package manifest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/manifest"
)

// A manifest counts only as what Open makes of it: signed, and by somebody who may.
func ExampleOpen() {
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	raw, err := manifest.Encode(&manifest.Manifest{
		ID: "x-1", Version: 1, IssuedAt: now, NotAfter: now.AddDate(5, 0, 0),
		Environment: manifest.Environment{Manufacturer: "Assay Lab Computer Inc.", Model: "X-1"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := keystore.Open(context.Background(), "../testdata/keys/vendor.key", keystore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	chain, err := keystore.ReadChain("../testdata/keys/vendor.pem")
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := manifest.Sign(raw, key, chain)
	if err != nil {
		fmt.Println(err)
		return
	}
	trust, err := manifest.LoadTrust([]string{"../testdata/keys/trust"})
	if err != nil {
		fmt.Println(err)
		return
	}
	trusted, report := manifest.Open(signed, trust, now)
	fmt.Println(trusted != nil, report.Status, report.Signers)

	nobody, report := manifest.Open(raw, trust, now)
	fmt.Println(nobody != nil, report.Status, report.Findings[0].Code == finding.ManifestUnsigned)
	// Output:
	// true trusted [Assay Lab Computer Inc. (Assay Test Signer (not for use))]
	// false untrusted true
}
