//go:build cgo

// Command assay-pkcs11 signs digests with a key in a PKCS #11 token. assay runs
// it, so that assay itself needs no C library. It reads one request from
// standard input and answers on standard output; see internal/pkcs11.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/assay-hw/assay/internal/pkcs11"
	"github.com/assay-hw/assay/internal/strictjson"
)

func main() { os.Exit(run(os.Stdin, os.Stdout, os.Stderr)) }

func run(in io.Reader, out, trouble io.Writer) int {
	response := answer(in)
	response.Version = pkcs11.Version
	if err := json.NewEncoder(out).Encode(response); err != nil {
		fmt.Fprintf(trouble, "%s: %v\n", pkcs11.Program, err)
		return 74
	}
	return 0
}

func answer(in io.Reader) pkcs11.Response {
	refuse := func(err error) pkcs11.Response { return pkcs11.Response{Error: err.Error()} }
	raw, err := io.ReadAll(io.LimitReader(in, pkcs11.MaxMessage+1))
	if err != nil {
		return refuse(err)
	}
	if len(raw) > pkcs11.MaxMessage {
		return refuse(fmt.Errorf("the request exceeds %d bytes", pkcs11.MaxMessage))
	}
	var req pkcs11.Request
	if err := strictjson.Decode(raw, &req); err != nil {
		return refuse(fmt.Errorf("request: %w", err))
	}
	if req.Version != pkcs11.Version {
		return refuse(fmt.Errorf("version %d of assay's requests is not known; install %s of the same version as assay", req.Version, pkcs11.Program))
	}
	u, err := pkcs11.ParseURI(req.URI)
	if err != nil {
		return refuse(err)
	}
	r, err := ask(u, &req)
	if err != nil {
		return refuse(err)
	}
	return *r
}
