package main

import (
	"context"
	"fmt"
	"os"

	"github.com/go-jose/go-jose/v4"

	"github.com/assay-hw/assay/keystore"
)

// readToken is the program "token FILE KEY": it verifies a token with the public key
// that belongs to KEY, as a relying party would, and prints its claims.
func readToken() {
	if err := printToken(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func printToken(file, key string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	k, err := keystore.Open(context.Background(), key, keystore.Options{})
	if err != nil {
		return err
	}
	s, err := jose.ParseSignedCompact(string(raw), []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.PS256})
	if err != nil {
		return err
	}
	claims, err := s.Verify(k.Public())
	if err != nil {
		return err
	}
	fmt.Println(string(claims))
	return nil
}
