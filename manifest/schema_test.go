package manifest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

func schema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join("..", "docs", "formats", name+".schema.json"))
	require.NoError(t, err)
	return s
}

func valid(t require.TestingT, s *jsonschema.Schema, doc []byte) bool {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	require.NoError(t, err)
	return s.Validate(v) == nil
}

func TestPublishedSchemaAcceptsManifests(t *testing.T) {
	s := schema(t, "golden")
	require.True(t, valid(t, s, encode(t, sample())))
	require.True(t, valid(t, s, encode(t, &Manifest{ID: "x", Version: 1, IssuedAt: issued, Environment: Environment{Manufacturer: "a", Model: "b"}})))
	root := newRoot(t, "root")
	require.True(t, valid(t, s, signed(t, sample(), root.issue(t), root.issue(t))))
	shop := newShop(t)
	base := opened(t, signed(t, sample(), shop.vendor), shop.trust)
	require.True(t, valid(t, s, encode(t, change(base, "Integrator", swapped))))
}

// What one refuses, the other refuses too, as far as a schema can say it.
func TestSchemaAndReaderAgree(t *testing.T) {
	s := schema(t, "golden")
	predicate := func(set func(map[string]any)) func(map[string]any) {
		return func(m map[string]any) { set(m["predicate"].(map[string]any)) }
	}
	put := func(key string, v any) func(map[string]any) {
		return predicate(func(p map[string]any) { p[key] = v })
	}
	first := func(list, key string, v any) func(map[string]any) {
		return predicate(func(p map[string]any) { p[list].([]any)[0].(map[string]any)[key] = v })
	}
	tests := map[string]struct {
		change func(map[string]any)
		ok     bool
	}{
		"unchanged":             {func(map[string]any) {}, true},
		"no notAfter":           {predicate(func(p map[string]any) { delete(p, "notAfter") }), true},
		"no components":         {predicate(func(p map[string]any) { delete(p, "components") }), true},
		"statement type":        {func(m map[string]any) { m["_type"] = "x" }, false},
		"predicate type":        {func(m map[string]any) { m["predicateType"] = "x" }, false},
		"unknown key outside":   {func(m map[string]any) { m["x"] = 1 }, false},
		"unknown key":           {put("x", 1), false},
		"no id":                 {put("id", ""), false},
		"no version":            {predicate(func(p map[string]any) { delete(p, "version") }), false},
		"version zero":          {put("version", 0), false},
		"version as text":       {put("version", "3"), false},
		"version with fraction": {put("version", 3.5), false},
		"no date":               {predicate(func(p map[string]any) { delete(p, "issuedAt") }), false},
		"date without time":     {put("issuedAt", "2026-03-01"), false},
		"no environment":        {predicate(func(p map[string]any) { delete(p, "environment") }), false},
		"no manufacturer":       {put("environment", map[string]any{"model": "x"}), false},
		"closure":               {put("classes", map[string]any{"memory": "shut"}), false},
		"class of a closure":    {put("classes", map[string]any{"Memory": "closed"}), false},
		"component without id":  {first("components", "id", ""), false},
		"component class":       {first("components", "class", "ram"), false},
		"component level":       {first("components", "level", "any"), false},
		"component quantity":    {first("components", "quantity", -1), false},
		"component key":         {first("components", "mpn", "x"), false},
		"verifiability":         {first("components", "verifiability", "never"), false},
		"identity key":          {first("components", "identity", map[string]any{"PartNumber": "x"}), false},
		"register":              {first("boot", "pcr", 24), false},
		"order":                 {first("boot", "order", "loose"), false},
		"bank":                  {first("boot", "digests", map[string]any{"md5": []string{"00"}}), false},
		"digest":                {first("boot", "digests", map[string]any{"sha256": []string{"00"}}), false},
		"image without a name":  {first("firmware", "name", ""), false},
		"image name as a path":  {first("firmware", "name", "a/b"), false},
		"image digest":          {first("firmware", "sha256", "00"), false},
		"leaf":                  {first("firmware", "leaves", []any{map[string]any{"path": "x", "offset": -1}}), false},
		"device without an id":  {first("spdm", "id", ""), false},
		"device, no subject":    {first("spdm", "device", "gpu0"), false},
		"device class":          {first("spdm", "class", "gpu"), false},
		"device roots only":     {first("spdm", "keys", []string{}), true},
		"device root":           {first("spdm", "roots", []string{"00"}), false},
		"device key":            {first("spdm", "open", true), true},
		"unknown device key":    {first("spdm", "leaf", "x"), false},
		"any device": {predicate(func(p map[string]any) {
			r := p["spdm"].([]any)[0].(map[string]any)
			delete(r, "roots")
			r["keys"] = []any{}
		}), false},
		"no measurements":       {first("spdm", "measurements", []any{}), true},
		"measured index":        {first("spdm", "measurements", []any{map[string]any{"index": 255, "any": true}}), false},
		"measured any":          {first("spdm", "measurements", []any{map[string]any{"index": 254, "any": true}}), true},
		"measured nothing":      {first("spdm", "measurements", []any{map[string]any{"index": 1}}), false},
		"measured twice":        {first("spdm", "measurements", []any{map[string]any{"index": 1, "any": true, "minimum": 1}}), false},
		"measured below zero":   {first("spdm", "measurements", []any{map[string]any{"index": 1, "minimum": -1}}), false},
		"measured type":         {first("spdm", "measurements", []any{map[string]any{"index": 1, "any": true, "type": "rom"}}), false},
		"measured digest":       {first("spdm", "measurements", []any{map[string]any{"index": 1, "digests": map[string]any{"sha384": []string{"00"}}}}), false},
		"measured no digest":    {first("spdm", "measurements", []any{map[string]any{"index": 1, "digests": map[string]any{"sha384": []string{}}}}), false},
		"measured hash":         {first("spdm", "measurements", []any{map[string]any{"index": 1, "digests": map[string]any{"md5": []string{"00"}}}}), false},
		"measured raw":          {first("spdm", "measurements", []any{map[string]any{"index": 1, "raw": []string{"00ff"}}}), true},
		"measured raw, odd":     {first("spdm", "measurements", []any{map[string]any{"index": 1, "raw": []string{"00f"}}}), false},
		"endorsement kind":      {first("endorsements", "kind", "key"), false},
		"endorsement of no key": {first("endorsements", "sha256", ""), false},
		"authority":             {put("authority", []any{map[string]any{"signer": "x", "classes": []string{"ram"}}}), false},
		"authority of nobody":   {put("authority", []any{map[string]any{"classes": []string{"memory"}}}), false},
		"delta without ticket":  {put("delta", map[string]any{"baseDigest": hexSum(nil), "actor": "x"}), false},
		"delta digest":          {put("delta", map[string]any{"baseDigest": "00", "actor": "x", "ticket": "y"}), false},
		"delta":                 {put("delta", map[string]any{"baseDigest": hexSum(nil), "actor": "x", "ticket": "y", "remove": []string{"nic"}}), true},
		"null":                  {put("id", nil), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			doc := edit(t, encode(t, sample()), tt.change)
			_, err := decodeStatement(doc)
			require.Equal(t, tt.ok, err == nil, "reader: %v", err)
			require.Equal(t, tt.ok, valid(t, s, doc), "schema")
		})
	}
}

// A field that is added to a type is added to the schema too.
func TestSchemaHasEveryField(t *testing.T) {
	for name, typ := range map[string]reflect.Type{
		"golden": reflect.TypeFor[statement](), "evidence": reflect.TypeFor[evidence.Index](),
	} {
		b, err := os.ReadFile(filepath.Join("..", "docs", "formats", name+".schema.json"))
		require.NoError(t, err)
		var root map[string]any
		require.NoError(t, json.Unmarshal(b, &root))
		at := root
		if name == "golden" {
			at = root["$defs"].(map[string]any)["statement"].(map[string]any)
		}
		compareFields(t, root, at, typ, name)
	}
}

func compareFields(t *testing.T, root, s map[string]any, typ reflect.Type, at string) {
	if ref, ok := s["$ref"].(string); ok {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Slice {
		if items, ok := s["items"].(map[string]any); ok {
			compareFields(t, root, items, typ.Elem(), at+"[]")
		}
		return
	}
	if typ.Kind() != reflect.Struct || typ.PkgPath() == "time" {
		return
	}
	props, ok := s["properties"].(map[string]any)
	require.True(t, ok, at)
	var have, want []string
	for f := range typ.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "-" || key == "" {
			continue
		}
		want = append(want, key)
		if p, ok := props[key].(map[string]any); ok && key != "inside" { // leaves in leaves are of one type
			compareFields(t, root, p, f.Type, at+"."+key)
		}
	}
	for key := range props {
		have = append(have, key)
	}
	slices.Sort(have)
	slices.Sort(want)
	require.Equal(t, want, have, at)
}

func TestSchemaNamesEveryClass(t *testing.T) {
	s := schema(t, "golden")
	m := sample()
	m.Components, m.Classes = nil, map[bom.Class]bom.Closure{}
	for _, c := range classes {
		m.Components = append(m.Components, bom.Reference{ID: string(c), Class: c, Identity: bom.Identity{Model: "x"}})
		m.Classes[c] = bom.Closed
	}
	require.True(t, valid(t, s, encode(t, m)))
}

func TestEvidenceIndexSchema(t *testing.T) {
	s := schema(t, "evidence")
	index := `{"format":"assay.evidence/v1","collector":{"name":"assay","version":"1"},"collectedAt":"2026-03-01T12:00:00Z","nonce":"00ff",
		"machine":{"manufacturer":"","product":"","serial":"","uuid":""},"mode":{"root":true,"virtual":"","lockdown":"none","image":""},
		"artifacts":[{"path":"sys/firmware/dmi/tables/DMI","sha256":"","size":0,"status":"denied","reason":"not root"}]}`
	for name, tt := range map[string]struct {
		old, fresh string
		ok         bool
	}{
		"as written":     {"", "", true},
		"later key":      {`"nonce"`, `"later":1,"nonce"`, true},
		"another format": {"evidence/v1", "evidence/v2", false},
		"unknown status": {`"denied"`, `"unwanted"`, false},
		"absolute path":  {`"sys/`, `"/sys/`, false},
	} {
		doc := strings.Replace(index, tt.old, tt.fresh, 1)
		_, err := evidence.OpenFS(fstest.MapFS{"evidence.json": {Data: []byte(doc)}}, "t", evidence.Limits{})
		require.Equal(t, tt.ok, err == nil, "%s: %v", name, err)
		require.Equal(t, tt.ok, valid(t, s, []byte(doc)), name)
	}
}

func TestResultSchema(t *testing.T) {
	s := schema(t, "result")
	f := finding.New(finding.UnexpectedComponent, "pci:0000:09:00.0")
	f.Sources, f.Basis = []finding.Source{finding.SiliconAnswered}, []finding.Basis{{Artifact: "sys/bus/pci/devices/0000:09:00.0/config", Length: 64}}
	f.Seal()
	one, err := json.Marshal(f)
	require.NoError(t, err)
	result := `{"format":"assay.result/v1","verdict":"fail","at":"2026-03-01T12:00:00Z","platform":{"manufacturer":"","model":"","serial":""},
		"assurance":{"level":"L2","sealed":true,"quoted":true,"keyBound":true,"collector":"unattested","statement":""},
		"manifests":[{"id":"","version":1,"sha256":"","signers":[""],"status":"trusted"}],"evidence":{"sha256":"","collectedAt":""},"policy":{"id":"","sha256":""},
		"findings":[` + string(one) + `],"incidents":[{"code":"IC-01","severity":"critical","title":"","narrative":"","findings":["` + f.Fingerprint + `"],"disprove":""}],
		"coverage":[{"class":"memory","declared":4,"matched":4,"unexpected":0,"notObservable":0}],"notChecked":[{"what":"","reason":""}],
		"summary":{"critical":1,"high":0,"medium":0,"low":0,"info":0}}`
	require.True(t, valid(t, s, []byte(result)))
	for old, fresh := range map[string]string{
		`"fail"`: `"failed"`, `"L2"`: `"L9"`, `"IC-01"`: `"HW-001"`, `"strong"`: `"sure"`, `"K3"`: `"K9"`, `"notChecked"`: `"unchecked"`, `"declared":4`: `"declared":-4`,
	} {
		require.False(t, valid(t, s, []byte(strings.Replace(result, old, fresh, 1))), fresh)
	}
	for _, e := range finding.Catalogue() {
		if e.Code.Incident() {
			continue
		}
		f := finding.New(e.Code, "x")
		f.Seal()
		b, err := json.Marshal(f)
		require.NoError(t, err)
		require.True(t, valid(t, s, []byte(strings.Replace(result, string(one), string(b), 1))), e.Code)
	}
}

// A certificate that is known by its issuer and number alone can be pinned; half
// of a name cannot.
func TestEndorsementByIssuerAndNumber(t *testing.T) {
	s := schema(t, "golden")
	for _, tc := range []struct {
		e  attest.Endorsement
		ok bool
	}{
		{attest.Endorsement{Kind: "ek-certificate", Issuer: "CN=TPM Maker", Number: "0b77"}, true},
		{attest.Endorsement{Kind: "ek-certificate", Number: "0b77"}, false},
		{attest.Endorsement{Kind: "ek-certificate", Issuer: "CN=TPM Maker"}, false},
		{attest.Endorsement{Kind: "ek-certificate", Issuer: "CN=TPM Maker", Number: "xyz"}, false},
		{attest.Endorsement{Kind: "ek", Issuer: "CN=TPM Maker", Number: "0b77"}, false},
	} {
		m := sample()
		m.Endorsements = []attest.Endorsement{tc.e}
		raw := encode(t, m)
		_, err := ReadUntrusted(raw)
		require.Equal(t, tc.ok, err == nil, "%+v: %v", tc.e, err)
		require.Equal(t, tc.ok, valid(t, s, raw), "%+v", tc.e)
	}
}
