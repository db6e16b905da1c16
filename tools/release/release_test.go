package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

var commitTime = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// Packages sort as commits follow each other, a candidate before its release.
func TestVersions(t *testing.T) {
	for described, packaged := range map[string]string{
		"v1.2.3":                  "1.2.3",
		"v1.2.3-rc1":              "1.2.3~rc1",
		"v1.2.3-4-gabcdef0":       "1.2.3+4.gabcdef0",
		"v1.2.3-rc1-4-gabcdef0":   "1.2.3~rc1+4.gabcdef0",
		"v1.2.3-4-gabcdef0-dirty": "1.2.3+4.gabcdef0+dirty",
		"910d85b":                 "0~20261130120000.910d85b",
		"910d85b-dirty":           "0~20261130120000.910d85b+dirty",
	} {
		require.Equal(t, packaged, versionOf(described, commitTime).packaged, described)
	}
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("needs dpkg to compare")
	}
	order := []string{"910d85b", "v1.2.3-rc1", "v1.2.3-rc1-4-gabcdef0", "v1.2.3", "v1.2.3-4-gabcdef0", "v1.2.4"}
	for i := range order[1:] {
		a, b := versionOf(order[i], commitTime).packaged, versionOf(order[i+1], commitTime).packaged
		require.NoError(t, exec.Command("dpkg", "--compare-versions", a, "lt", b).Run(), "%s before %s", a, b)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// built is one of our programs, small enough to build in a test.
func built(t *testing.T) (*release, string) {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	r := &release{source: source, out: t.TempDir(), at: commitTime, version: versionOf("v1.2.3", commitTime), cache: goEnv(t, "GOMODCACHE"), goroot: goEnv(t, "GOROOT")}
	program := filepath.Join(t.TempDir(), "assay-scanner")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/scanner")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return r, program
}

func encoded(t *testing.T, b *cdx.BOM) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).Encode(b))
	return out.Bytes()
}

func TestBillOfMaterials(t *testing.T) {
	r, program := built(t)
	b, err := r.bom(program, "amd64")
	require.NoError(t, err)
	again, err := r.bom(program, "amd64")
	require.NoError(t, err)
	raw := encoded(t, b)
	require.Equal(t, string(raw), string(encoded(t, again)))
	require.NoError(t, schema(t).Validate(value(t, raw)))

	names := map[string]cdx.Component{}
	for _, c := range *b.Components {
		names[c.Name] = c
		require.NotNil(t, c.Licenses, c.Name)
		require.NotEmpty(t, *c.Licenses, c.Name)
		require.Nil(t, c.Hashes, "%s: the sum of a module is no hash of a file", c.Name)
	}
	require.Equal(t, "pkg:golang/golang.org/x/sys@"+names["golang.org/x/sys"].Version, names["golang.org/x/sys"].PackageURL)
	require.Equal(t, strings.TrimPrefix(goEnv(t, "GOVERSION"), "go"), names["std"].Version)
	require.Contains(t, names, "pci.ids")
	require.NotContains(t, names, "htmx.org", "the scanner has no pages")
	sum := (*names["golang.org/x/sys"].Properties)[0]
	sums, err := os.ReadFile(filepath.Join(r.source, "go.sum"))
	require.NoError(t, err)
	require.Contains(t, string(sums), "golang.org/x/sys "+names["golang.org/x/sys"].Version+" "+sum.Value)

	root := (*b.Dependencies)[0]
	require.Equal(t, b.Metadata.Component.BOMRef, root.Ref)
	require.Contains(t, *root.Dependencies, names["golang.org/x/sys"].BOMRef)
}

// A document that the schema refuses is refused here too: the check checks.
func TestTheSchemaRefuses(t *testing.T) {
	require.Error(t, schema(t).Validate(value(t, []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"x"}]}`))))
}

func value(t *testing.T, raw []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	return v
}

// schema is the published one, as the library of CycloneDX has it.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-json", "github.com/CycloneDX/cyclonedx-go").Output()
	require.NoError(t, err)
	var m struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &m))
	c := jsonschema.NewCompiler()
	for name, file := range map[string]string{"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		raw, err := os.ReadFile(filepath.Join(m.Dir, "schema", file))
		require.NoError(t, err)
		require.NoError(t, c.AddResource("http://cyclonedx.org/schema/"+name, value(t, raw)))
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	require.NoError(t, err)
	return s
}

// With ASSAY_DIST the documents that lie there are checked, each of them.
func TestPublishedBillsOfMaterials(t *testing.T) {
	dir := os.Getenv("ASSAY_DIST")
	if dir == "" {
		t.Skip("needs ASSAY_DIST, a directory that tools/release.sh made")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.cdx.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, schema(t).Validate(value(t, raw)), f)
	}
}

// Most licences ask to go along; each text is there once.
func TestThirdPartyLicences(t *testing.T) {
	r, program := built(t)
	b, err := r.thirdParty(program)
	require.NoError(t, err)
	text := string(b)
	for _, want := range []string{"golang.org/x/sys@", "std@", "htmx.org 4.0.1", "The Go Authors"} {
		require.Contains(t, text, want)
	}
}

// What is embedded is where the list says, and is licensed so.
func TestEmbeddings(t *testing.T) {
	for _, e := range embeddings {
		dir := filepath.Join("..", "..", filepath.FromSlash(e.in))
		require.DirExists(t, dir)
		raw, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(e.licence)))
		require.NoError(t, err)
		require.NotEmpty(t, raw)
		if e.kind == cdx.ComponentTypeData {
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			require.NoError(t, err)
			require.Contains(t, string(readme), e.version, "%s was made anew", e.name)
		}
	}
}
