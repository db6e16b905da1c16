package inspection

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/manifest"
)

func record() *Record {
	return &Record{
		Format: Format, ID: "XR-1", Technique: XRay, Unit: Unit{Kind: "board", Manufacturer: "Example", Model: "X1", Revision: "A", Serial: "S-1"},
		Lot: &Lot{ID: "L", Size: 3, Serials: []string{"S-1", "S-2"}}, Operator: Operator{Organization: "House", Person: "7"},
		Instrument:  Instrument{Maker: "M", Model: "T", CalibrationDue: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		PerformedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Reference: Reference{ID: "golden"}, Coverage: Complete, Result: Conforms,
		Places:       []Place{{Designator: "U1", Observed: Placed, Attachment: "a.png"}},
		Measurements: []Measurement{{Name: "VCORE", Unit: "mOhm", Value: "5.1", Low: "5", High: "6.25"}},
		Attachments:  []Attachment{{Name: "a.png", MediaType: "image/png", SHA256: strings.Repeat("0", 64), Size: 1}},
	}
}

func schema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join("..", "docs", "formats", "inspection.schema.json"))
	require.NoError(t, err)
	return s
}

func follows(t require.TestingT, s *jsonschema.Schema, doc []byte) bool {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	require.NoError(t, err)
	return s.Validate(v) == nil
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	r := record()
	raw, err := Encode(r)
	require.NoError(t, err)
	got, err := Decode(raw)
	require.NoError(t, err)
	require.Equal(t, r, got)
	require.True(t, IsRecord(raw))
	require.False(t, IsRecord([]byte("{}")))
	require.True(t, follows(t, schema(t), raw))
}

// What has no meaning is refused, by the schema too as far as it can say it.
func TestRecordsThatAreRefused(t *testing.T) {
	s := schema(t)
	for name, c := range map[string]struct {
		change func(*Record)
		schema bool // refuses it too
	}{
		"technique":                      {func(r *Record) { r.Technique = "sonar" }, true},
		"a unit without a serial number": {func(r *Record) { r.Unit.Serial = "" }, true},
		"no operator":                    {func(r *Record) { r.Operator.Person = "" }, true},
		"no reference":                   {func(r *Record) { r.Reference.ID = "" }, true},
		"no time":                        {func(r *Record) { r.PerformedAt = time.Time{} }, false},
		"coverage":                       {func(r *Record) { r.Coverage = "most" }, true},
		"result":                         {func(r *Record) { r.Result = "fine" }, true},
		"another format":                 {func(r *Record) { r.Format = "x" }, true},
		"a lot of nothing":               {func(r *Record) { r.Lot.Size = 0 }, true},
		"more than the lot":              {func(r *Record) { r.Lot.Size = 1 }, false},
		"not of its own lot":             {func(r *Record) { r.Lot.Serials = []string{"S-2"} }, false},
		"a serial twice":                 {func(r *Record) { r.Lot.Serials = []string{"S-1", "S-1"} }, true},
		"a place twice":                  {func(r *Record) { r.Places = append(r.Places, r.Places[0]) }, false},
		"an odd designator":              {func(r *Record) { r.Places[0].Designator = "u1 " }, true},
		"an observation":                 {func(r *Record) { r.Places[0].Observed = "weird" }, true},
		"confidence":                     {func(r *Record) { r.Places[0].Confidence = "sure" }, true},
		"an image that is not there":     {func(r *Record) { r.Places[0].Attachment = "b.png" }, false},
		"a path upwards":                 {func(r *Record) { r.Attachments[0].Name, r.Places[0].Attachment = "../a", "" }, false},
		"a digest":                       {func(r *Record) { r.Attachments[0].SHA256 = "AB" }, true},
		"a negative size":                {func(r *Record) { r.Attachments[0].Size = -1 }, true},
		"a flash under X-rays":           {func(r *Record) { r.Attachments[0].Flash = "bios" }, false},
		"no number":                      {func(r *Record) { r.Measurements[0].Value = "1e9" }, true},
	} {
		r := record()
		c.change(r)
		raw, err := Encode(r)
		require.NoError(t, err, name)
		_, err = Decode(raw)
		require.Error(t, err, name)
		if c.schema {
			require.False(t, follows(t, s, raw), name)
		}
	}
	raw, err := Encode(record())
	require.NoError(t, err)
	_, err = Decode(bytes.Replace(raw, []byte(`"name": "Example/X1/S-1"`), []byte(`"name": "Example/X1/S-2"`), 1))
	require.ErrorContains(t, err, "subject")
	_, err = Decode(bytes.Replace(raw, []byte("inspection/v1\""), []byte("golden/v1\""), 1))
	require.ErrorContains(t, err, "predicate")
	_, err = Decode(make([]byte, MaxBytes+1))
	require.ErrorContains(t, err, "limit")
}

func TestMeasurements(t *testing.T) {
	for _, c := range []struct {
		value, low, high string
		outside          bool
	}{{"5", "5", "6", false}, {"4.99", "5", "", true}, {"6.1", "", "6", true}, {"-1", "-2", "0", false}, {"7", "", "", false}} {
		got, err := (Measurement{Name: "x", Value: c.value, Low: c.low, High: c.high}).Outside()
		require.NoError(t, err)
		require.Equal(t, c.outside, got, c)
	}
}

// Every technique has its place in CycloneDX, or is known to have none.
func TestTechniques(t *testing.T) {
	require.Equal(t, "x-ray-inspection", CT.CycloneDX())
	require.Equal(t, "visual-inspection", AOI.CycloneDX())
	require.Equal(t, "electrical-testing", BoundaryScan.CycloneDX())
	require.Empty(t, ClipDump.CycloneDX())
	require.False(t, Technique("sonar").Known())
}

// An unsigned record has contents and no authority.
func TestDraftsAreNotTrusted(t *testing.T) {
	raw, err := Encode(record())
	require.NoError(t, err)
	o := Open(raw, &manifest.Trust{}, time.Now())
	require.False(t, o.Trusted())
	require.Equal(t, record(), o.Record())
	require.NotEmpty(t, o.Report().Findings)
	require.False(t, new(Opened).Trusted(), "a zero value proves nothing")
}

func FuzzDecode(f *testing.F) {
	raw, err := Encode(record())
	require.NoError(f, err)
	f.Add(raw)
	var small bytes.Buffer
	require.NoError(f, json.Compact(&small, raw))
	f.Add(small.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Decode(in)
		if err != nil {
			return
		}
		again, err := Encode(r)
		require.NoError(t, err)
		same, err := Decode(again)
		require.NoError(t, err)
		once, err := Encode(same)
		require.NoError(t, err)
		require.Equal(t, string(again), string(once))
		Open(in, nil, time.Unix(0, 0))
	})
}
