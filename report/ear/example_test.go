package ear_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/report/ear"
)

// The verifier signs; a relying party that has its public key reads the verdict.
func ExampleWrite() {
	key, err := keystore.Open(context.Background(), "../../testdata/keys/vendor.key", keystore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var b bytes.Buffer
	r := &assay.Result{Verdict: assay.Inconclusive, At: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
	if err := ear.Write(&b, r, key, ear.Options{Nonce: []byte("12345678"), Build: "v1"}); err != nil {
		fmt.Println(err)
		return
	}

	token, err := jose.ParseSignedCompact(strings.TrimSpace(b.String()), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := token.Verify(key.Public())
	if err != nil {
		fmt.Println(err)
		return
	}
	before, _, _ := strings.Cut(string(claims), `,"https:`)
	fmt.Println(before)
	// Output:
	// {"eat_profile":"tag:github.com,2023:veraison/ear","iat":1769904000,"eat_nonce":"MTIzNDU2Nzg","ear.verifier-id":{"developer":"https://github.com/assay-hw/assay","build":"assay v1"},"submods":{"machine":{"ear.status":"none","ear.trustworthiness-vector":{"instance-identity":0,"configuration":0,"executables":0,"hardware":0},"ear.appraisal-policy-id":";sha256="}}
}
