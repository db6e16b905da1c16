package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/softhsm"
	"github.com/assay-hw/assay/internal/swtpm"
	"github.com/assay-hw/assay/keystore"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"assay":   func() { os.Exit(run(os.Args[1:], processEnvironment())) },
		"unpack":  unpackEvidence,
		"cabinet": writeCabinet,
		"token":   readToken,
		"nested":  runNested,
	})
}

// followsSchema is the script command "schema NAME FILE": the file has the form
// that docs/formats/NAME.schema.json publishes.
func followsSchema(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: schema NAME FILE")
	}
	name := args[0] + ".schema.json"
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "formats", name))
	ts.Check(err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	ts.Check(err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	ts.Check(c.AddResource(name, doc))
	s, err := c.Compile(name)
	ts.Check(err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	switch err := s.Validate(v); {
	case neg && err == nil:
		ts.Fatalf("%s follows %s", args[1], name)
	case !neg:
		ts.Check(err)
	}
}

// TestScripts runs the command line as people and scripts use it. Each script
// finds the recorded machines as NAME.evidence.zip, the test vendor's key, and
// the roots.
func TestScripts(t *testing.T) {
	root := filepath.Join("..", "..")
	machines := map[string][]byte{}
	for _, n := range []string{"baseline", "baseline-reboot", "extra-nic-norom", "fw-patched-sec", "fw-patched-dxe", "boot-order", "stale-nonce"} {
		files, err := fixture.Machine(root, n)
		if err != nil {
			t.Fatal(err)
		}
		if machines[n], err = fixture.Zip(files); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := filepath.Abs(filepath.Join(root, "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	var address, makers string
	if swtpm.Available() == nil {
		makers = t.TempDir()
		maker := swtpm.NewMaker(makers)
		s, err := maker.Make("sha256,sha384")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		address = s.Address
		for i, f := range maker.Roots() {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(makers, fmt.Sprintf("root-%d.pem", i)), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	hsm := newToken(t)
	commands := map[string]func(*testscript.TestScript, bool, []string){"schema": followsSchema}
	maps.Copy(commands, signingCommands)
	testscript.Run(t, testscript.Params{
		Condition: func(cond string) (bool, error) {
			if cond == "swtpm" {
				return address != "", nil
			}
			if cond == "sandbox" {
				return hasSandbox(), nil
			}
			if cond == "softhsm" {
				return hsm.program != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Dir:  filepath.Join("testdata", "script"),
		Cmds: commands,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("SWTPM", address)
			e.Setenv("MAKERS", makers)
			e.Setenv("SOFTHSM2_CONF", hsm.config)
			e.Setenv(keystore.HelperVariable, hsm.program)
			e.Setenv("TOKENMODULE", hsm.module)
			e.Setenv("TOKENPIN", softhsm.PIN)
			e.Setenv("LATER", time.Now().AddDate(1, 1, 0).UTC().Format(time.RFC3339))
			e.Setenv("KEYS", filepath.Join(keys, "keys"))
			e.Setenv("SIGSTORENOW", "2026-12-01T07:56:40Z")
			e.Setenv("SIGSTORE", filepath.Join(filepath.Dir(keys), "cmd", "assay", "testdata", "sigstore"))
			e.Setenv("SRC", filepath.Dir(keys))
			e.Setenv("TPM", filepath.Join(keys, "tpm"))
			e.Setenv("NONCE", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")
			for n, b := range machines {
				if err := os.WriteFile(filepath.Join(e.WorkDir, n+".evidence.zip"), b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		RequireExplicitExec: true,
	})
}
