package assay_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
)

// workshop is a lab with an inspection house beside the maker.
type workshop struct {
	*lab
	house *labVendor
	t     *testing.T
}

// labUnit is the recorded machine.
var labUnit = inspection.Unit{Kind: "machine", Manufacturer: "Assay Lab Computer Inc.", Model: "SYS-6029LAB-TR", Serial: "S-LAB-0001"}

// newWorkshop declares, beside what a draft has, a board's parts that no bus shows.
func newWorkshop(t *testing.T, board bom.Closure) *workshop {
	b := &workshop{lab: newLab(t, machine(t, "baseline")), house: newVendor(t, "X-Ray House"), t: t}
	b.golden = b.vendor.sign(t, func(m *manifest.Manifest) {
		m.Classes[bom.Electronic] = board
		for i, d := range []string{"U7", "C1-C3", "R9"} {
			r := bom.Reference{ID: "board-" + d, Class: bom.Electronic, Location: finding.Location{Designator: d}, Verifiability: bom.PhysicalOnly, Quantity: []int{1, 3, 1}[i], Position: bom.Position{Side: "top", X: int64(i)}}
			r.Identity = bom.Identity{Maker: "Texas Instruments", PartNumber: "PART" + d}
			m.Components = append(m.Components, r)
		}
	}, machine(t, "baseline"))
	b.grant("grants:\n- signer: {organization: X-Ray House}\n  manufacturers: ['*']\n  classes: [inspection]\n")
	return b
}

func (b *workshop) grant(yaml string) {
	require.NoError(b.t, os.WriteFile(filepath.Join(filepath.Dir(b.house.root), "trust.yaml"), []byte(yaml), 0o600))
}

func (b *workshop) trusted() *manifest.Trust {
	tr, err := manifest.LoadTrust([]string{b.vendor.root, b.house.root})
	require.NoError(b.t, err)
	return tr
}

func (b *workshop) caseWith(records ...*inspection.Opened) assay.Case {
	c := b.caseOf(b.t, machine(b.t, "baseline"))
	c.Trust, c.Inspections = b.trusted(), assay.Inspected(records...)
	return c
}

func (b *workshop) verify(c assay.Case) *assay.Result {
	r, err := assay.Verify(c)
	require.NoError(b.t, err)
	again, err := assay.Verify(c)
	require.NoError(b.t, err)
	var x, y bytes.Buffer
	require.NoError(b.t, report.JSON(&x, r))
	require.NoError(b.t, report.JSON(&y, again))
	require.Equal(b.t, x.String(), y.String(), "equal cases give equal bytes")
	return r
}

func (b *workshop) record(change func(*inspection.Record)) *inspection.Record {
	r := &inspection.Record{
		Format: inspection.Format, ID: "AOI-1", Technique: inspection.AOI, Unit: labUnit, Operator: inspection.Operator{Organization: "X-Ray House", Person: "Op 7"},
		PerformedAt: labTime.AddDate(0, 0, -1), Reference: inspection.Reference{ID: "golden images of board rev A"}, Coverage: inspection.Complete, Result: inspection.Conforms,
	}
	if change != nil {
		change(r)
	}
	return r
}

func (b *workshop) signed(change func(*inspection.Record)) []byte {
	raw, err := inspection.Encode(b.record(change))
	require.NoError(b.t, err)
	out, err := inspection.Sign(raw, b.house.key, b.house.chain)
	require.NoError(b.t, err)
	return out
}

func (b *workshop) opened(change func(*inspection.Record)) *inspection.Opened {
	return inspection.Open(b.signed(change), b.trusted(), labTime.Add(time.Hour))
}

func inspectionPolicy(t *testing.T, yaml string) *assay.Policy {
	p, err := assay.ParsePolicy([]byte("id: with-inspections\nextends: default\n" + yaml))
	require.NoError(t, err)
	return p
}

func coverageOf(r *assay.Result, c bom.Class) bom.Coverage {
	i := slices.IndexFunc(r.Coverage, func(k bom.Coverage) bool { return k.Class == c })
	return r.Coverage[i]
}

func notChecked(r *assay.Result, text string) bool {
	return slices.ContainsFunc(r.NotChecked, func(n assay.NotChecked) bool { return strings.Contains(n.What+": "+n.Reason, text) })
}

func TestWithoutARecordLinesForEyesStayOpen(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	r := b.verify(b.caseWith())
	require.Equal(t, assay.Pass, r.Verdict, "%v", codesOf(r))
	require.Equal(t, 5, coverageOf(r, bom.Electronic).NotObservable)
	require.Equal(t, []string{"U7", "C1-C3", "R9"}, []string{r.ToInspect[0].Designator, r.ToInspect[1].Designator, r.ToInspect[2].Designator})
	require.Equal(t, "L4", r.Assurance.Level)
}

func TestACleanRecordShowsWhatNoBusCan(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	r := b.verify(b.caseWith(b.opened(nil)))
	require.Equal(t, assay.Pass, r.Verdict, "%v", r.NotChecked)
	c := coverageOf(r, bom.Electronic)
	require.Equal(t, []int{5, 5, 5, 0}, []int{c.Declared, c.Matched, c.Inspected, c.NotObservable})
	require.Empty(t, r.ToInspect)
	require.Equal(t, "unit", r.Inspections[0].Counts)
	require.Equal(t, "L4", r.Assurance.Level, "one view of the flash is one view, whoever looked at the board")
	require.Contains(t, r.Assurance.Statement, "aoi by X-Ray House")

	part := b.verify(b.caseWith(b.opened(func(r *inspection.Record) {
		r.Coverage = inspection.Partial
		for _, d := range []string{"U7", "C1", "C2"} {
			r.Places = append(r.Places, inspection.Place{Designator: d, Observed: inspection.Placed})
		}
	})))
	require.Equal(t, 1, coverageOf(part, bom.Electronic).Inspected, "a line of three places needs all three")
	require.True(t, notChecked(part, "physical-only"))
}

// A list of parts that is complete can only be shown complete by somebody who
// looked at all of the board, and makes a part beside it a finding.
func TestABoardThatIsDeclaredComplete(t *testing.T) {
	b := newWorkshop(t, bom.Closed)
	require.Equal(t, assay.Inconclusive, b.verify(b.caseWith()).Verdict)
	r := b.verify(b.caseWith(b.opened(nil)))
	require.Equal(t, assay.Pass, r.Verdict, "%v", r.Required)
	require.False(t, notChecked(r, "electronic"))
	require.Equal(t, assay.Inconclusive, b.verify(b.caseWith(b.opened(func(r *inspection.Record) { r.Coverage = inspection.Partial }))).Verdict)
	r = b.verify(b.caseWith(b.opened(func(r *inspection.Record) {
		r.Technique, r.Places = inspection.XRay, []inspection.Place{{Designator: "U88", Observed: inspection.Placed}, {Designator: "C2", Observed: inspection.Placed}}
	})))
	require.Equal(t, assay.Fail, r.Verdict, "a part on a footprint that the design leaves empty")
	require.Len(t, find(r, finding.InspectionDeviation), 1)
	require.Equal(t, "U88", find(r, finding.InspectionDeviation)[0].Location.Designator)
}

func TestWhatARecordHoldsAgainstTheUnit(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	for name, c := range map[string]struct {
		technique inspection.Technique
		place     inspection.Place
		code      finding.Code
		verdict   assay.Verdict
	}{
		"an extra part":                       {inspection.AOI, inspection.Place{Designator: "U99", Observed: inspection.Extra, Marking: "A7X"}, finding.InspectionDeviation, assay.Fail},
		"no part":                             {inspection.AOI, inspection.Place{Designator: "U7", Observed: inspection.Missing}, finding.InspectionDeviation, assay.Fail},
		"another part":                        {inspection.Photo, inspection.Place{Designator: "U7", Observed: inspection.Other, PartNumber: "X"}, finding.InspectionDeviation, assay.Fail},
		"a part with another number":          {inspection.Photo, inspection.Place{Designator: "U7", Observed: inspection.Placed, PartNumber: "PARTU8"}, finding.InspectionDeviation, assay.Fail},
		"rework":                              {inspection.CT, inspection.Place{Designator: "R9", Observed: inspection.Rework}, finding.InspectionDeviation, assay.Fail},
		"a value":                             {inspection.BoundaryScan, inspection.Place{Designator: "R9", Observed: inspection.Value, Note: "4.7 kOhm"}, finding.ElectricalDeviation, assay.Review},
		"an extra part, of which one doubted": {inspection.AOI, inspection.Place{Designator: "U99", Observed: inspection.Extra, Confidence: "low"}, finding.InspectionDeviation, assay.Review},
	} {
		change := func(r *inspection.Record) {
			r.Technique, r.Result, r.Places = c.technique, inspection.Deviates, []inspection.Place{c.place}
		}
		r := b.verify(b.caseWith(b.opened(change)))
		require.Equal(t, c.verdict, r.Verdict, name)
		f := find(r, c.code)
		require.Len(t, f, 1, name)
		require.Equal(t, c.place.Designator, f[0].Location.Designator, name)
		require.Equal(t, []finding.Source{finding.Physical}, f[0].Sources)
		require.NotZero(t, coverageOf(r, bom.Electronic).NotObservable, "what deviates vouches for nothing")

		change2 := func(r *inspection.Record) { change(r); r.Result = inspection.Conforms }
		require.Equal(t, c.verdict, b.verify(b.caseWith(b.opened(change2))).Verdict, "%s: a place counts more than the word under it", name)
	}
	r := b.verify(b.caseWith(b.opened(func(r *inspection.Record) {
		r.Technique, r.Measurements = inspection.Impedance, []inspection.Measurement{{Name: "VCORE at 1 MHz", Unit: "mOhm", Value: "4.9", Low: "5.1", High: "6"}}
	})))
	require.Equal(t, assay.Review, r.Verdict)
	require.Len(t, find(r, finding.ElectricalDeviation), 1)
	r = b.verify(b.caseWith(b.opened(func(r *inspection.Record) { r.Technique, r.Result = inspection.TamperSeal, inspection.Deviates })))
	require.Equal(t, assay.Fail, r.Verdict, "a broken seal")
}

// Whoever signs must have been granted the right, and nobody has it by default.
func TestWhoMaySignAnInspection(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	extra := func(r *inspection.Record) {
		r.Places = []inspection.Place{{Designator: "U99", Observed: inspection.Extra}}
	}
	for yaml, trusted := range map[string]bool{
		"grants:\n- signer: {organization: X-Ray House}\n  manufacturers: ['*']\n  classes: [inspection]\n":                        true,
		"grants:\n- signer: {organization: X-Ray House}\n  manufacturers: [Assay Lab Computer]\n  classes: ['inspection:aoi']\n":   true,
		"grants:\n- signer: {organization: X-Ray House}\n  manufacturers: [Assay Lab Computer]\n  classes: ['inspection:x-ray']\n": false,
		"grants:\n- signer: {organization: X-Ray House}\n  manufacturers: [Somebody Else]\n  classes: [inspection]\n":              false,
		"grants:\n- signer: {organization: X-Ray House}\n  manufacturers: ['*']\n":                                                 false,
		"threshold: 1\n": false,
		"threshold: 2\n": false,
	} {
		b.grant(yaml)
		clean := b.opened(nil)
		require.Equal(t, trusted, clean.Trusted(), yaml)
		c := b.caseWith(b.opened(extra))
		if yaml == "threshold: 2\n" {
			continue // the manifest would need two signatures too
		}
		r := b.verify(c)
		want := map[bool]assay.Verdict{true: assay.Fail, false: assay.Review}[trusted]
		require.Equal(t, want, r.Verdict, "what an untrusted record holds against a unit is a question: %s", yaml)
		require.Len(t, find(r, finding.InspectionDeviation), 1)
		r = b.verify(b.caseWith(clean))
		require.Equal(t, trusted, coverageOf(r, bom.Electronic).Inspected == 5, yaml)
	}
	b.grant("threshold: 1\n")
	require.False(t, inspection.Open(b.signed(nil), b.vendor.trust(t), labTime).Trusted(), "the maker's root does not vouch for the house")
	own, err := inspection.Encode(b.record(nil))
	require.NoError(t, err)
	signed, err := inspection.Sign(own, b.vendor.key, b.vendor.chain)
	require.NoError(t, err)
	require.False(t, inspection.Open(signed, b.trusted(), labTime).Trusted(), "nor does the maker by itself")
	draft := inspection.Open(own, b.trusted(), labTime)
	require.False(t, draft.Trusted())
	require.Equal(t, assay.Review, b.verify(b.caseWith(draft)).Verdict)
}

func TestRecordsThatDoNotCount(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	for reason, change := range map[string]func(*inspection.Record){
		"another machine":     func(r *inspection.Record) { r.Unit.Serial = "S-LAB-0002" },
		"another board":       func(r *inspection.Record) { r.Unit.Kind = "board" },
		"after the time":      func(r *inspection.Record) { r.PerformedAt = labTime.AddDate(0, 0, 2) },
		"the calibration":     func(r *inspection.Record) { r.Instrument.CalibrationDue = r.PerformedAt.AddDate(0, 0, -1) },
		"another machine,":    func(r *inspection.Record) { r.Unit.Model = "SYS-1" },
		"another machine, Ot": func(r *inspection.Record) { r.Unit.Manufacturer = "Other Computer" },
	} {
		r := b.verify(b.caseWith(b.opened(change)))
		require.Zero(t, coverageOf(r, bom.Electronic).Inspected, reason)
		require.Equal(t, "no", r.Inspections[0].Counts, reason)
		require.True(t, notChecked(r, strings.TrimSuffix(reason, " Ot")), "%s: %v", reason, r.Inspections[0].Reason)
		r = b.verify(func() assay.Case {
			c := b.caseWith(b.opened(change))
			c.Policy = inspectionPolicy(t, "inspections:\n- technique: [aoi]\n")
			return c
		}())
		require.Equal(t, assay.Inconclusive, r.Verdict, reason)
	}
	broken := bytes.Replace(b.signed(nil), []byte(`"sig": "`), []byte(`"sig": "A`), 1)
	r := b.verify(b.caseWith(inspection.Open(broken, b.trusted(), labTime)))
	require.Equal(t, assay.Review, r.Verdict)
	r = b.verify(b.caseWith(inspection.Open([]byte("no record"), b.trusted(), labTime)))
	require.Equal(t, "unreadable", r.Inspections[0].Status)
	require.NotEqual(t, assay.Pass, r.Verdict)
}

// The board's own labels name a unit too, with its revision.
func TestRecordsOfABoard(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	files := machine(t, "baseline")
	inv := bom.Read(bundle(t, files))
	boards := inv.ByClass(bom.Baseboard)
	require.Len(t, boards, 1)
	id := boards[0].Identity
	of := func(revision string) func(*inspection.Record) {
		return func(r *inspection.Record) {
			r.Unit = inspection.Unit{Kind: "board", Manufacturer: id.Maker, Model: id.Model, Revision: revision, Serial: id.Serial}
		}
	}
	require.NotEmpty(t, id.Revision)
	require.Equal(t, 5, coverageOf(b.verify(b.caseWith(b.opened(of(id.Revision)))), bom.Electronic).Inspected)
	r := b.verify(b.caseWith(b.opened(of("Z9"))))
	require.Zero(t, coverageOf(r, bom.Electronic).Inspected)
	require.True(t, notChecked(r, "revision Z9"))
}

func TestPolicyAsksForInspection(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	p := inspectionPolicy(t, "inspections:\n- technique: [x-ray, ct]\n  maxAge: 720h\n  classes: [electronic]\n")
	xray := func(at time.Time) func(*inspection.Record) {
		return func(r *inspection.Record) { r.ID, r.Technique, r.PerformedAt = "XR-1", inspection.XRay, at }
	}
	for name, c := range map[string]struct {
		records []*inspection.Opened
		want    assay.Verdict
	}{
		"none":              {nil, assay.Inconclusive},
		"another technique": {[]*inspection.Opened{b.opened(nil)}, assay.Inconclusive},
		"fresh":             {[]*inspection.Opened{b.opened(xray(labTime.AddDate(0, 0, -3)))}, assay.Pass},
		"stale":             {[]*inspection.Opened{b.opened(xray(labTime.AddDate(0, -3, 0)))}, assay.Inconclusive},
		"stale and fresh":   {[]*inspection.Opened{b.opened(xray(labTime.AddDate(0, -3, 0))), b.opened(xray(labTime))}, assay.Pass},
		"partial":           {[]*inspection.Opened{b.opened(func(r *inspection.Record) { xray(labTime)(r); r.Coverage = inspection.Partial })}, assay.Inconclusive},
		"undecided":         {[]*inspection.Opened{b.opened(func(r *inspection.Record) { xray(labTime)(r); r.Result = inspection.Undecided })}, assay.Inconclusive},
		"fresh, and a seal": {[]*inspection.Opened{b.opened(xray(labTime)), b.opened(func(r *inspection.Record) { r.ID, r.Technique = "SEAL", inspection.TamperSeal })}, assay.Pass},
	} {
		k := b.caseWith(c.records...)
		k.Policy = p
		r := b.verify(k)
		require.Equal(t, c.want, r.Verdict, "%s: %v", name, r.Required)
	}
	k := b.caseWith(b.opened(xray(labTime)))
	k.Policy = p
	require.Empty(t, slices.DeleteFunc(find(b.verify(k), finding.BlindSpot), func(f finding.Finding) bool { return !strings.Contains(f.Subject, "dormant") }), "X-rays see dormant parts")
}

// unitOfLot is a record of the n-th unit of a lot of a hundred, ours the first.
func unitOfLot(n int, serials []string, change func(*inspection.Record)) func(*inspection.Record) {
	return func(r *inspection.Record) {
		r.ID, r.Technique, r.Unit.Serial = fmt.Sprintf("XR-%d", n), inspection.XRay, serials[n]
		r.Lot = &inspection.Lot{ID: "L-77", Size: int64(len(serials)), Serials: serials}
		if change != nil {
			change(r)
		}
	}
}

func TestSamplesOfALot(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	var serials []string
	for i := range 100 {
		serials = append(serials, fmt.Sprintf("S-LAB-%04d", i+1))
	}
	judge := func(yaml string, records ...*inspection.Opened) *assay.Result {
		k := b.caseWith(records...)
		k.Policy = inspectionPolicy(t, "inspections:\n- {technique: [x-ray, ct], sample: "+yaml+"}\n")
		return b.verify(k)
	}
	unit := func(n int, change func(*inspection.Record)) *inspection.Opened {
		return b.opened(unitOfLot(n, serials, change))
	}
	require.Equal(t, assay.Inconclusive, judge("{oneIn: 50}").Verdict)
	one := judge("{oneIn: 50}", unit(40, nil))
	require.Equal(t, assay.Inconclusive, one.Verdict)
	require.Contains(t, one.Required[len(one.Required)-1].Reason, "x-ray or ct of 1 units of the lot, which has 100; 2 are needed")
	require.Equal(t, assay.Inconclusive, judge("{oneIn: 50}", unit(40, nil), unit(40, func(r *inspection.Record) { r.ID = "XR-40-again" })).Verdict, "one unit twice is one unit")
	two := judge("{oneIn: 50}", unit(40, nil), unit(41, nil))
	require.Equal(t, assay.Pass, two.Verdict, "%v", two.Required)
	require.Zero(t, coverageOf(two, bom.Electronic).Inspected, "other units' records show nothing of this one")
	require.Equal(t, assay.Pass, judge("{oneIn: 50}", unit(0, nil), unit(41, nil)).Verdict, "the unit itself is of its lot")
	require.Equal(t, assay.Inconclusive, judge("{percent: 3}", unit(40, nil), unit(41, nil)).Verdict)
	require.Equal(t, assay.Pass, judge("{min: 2}", unit(40, nil), unit(41, nil)).Verdict)

	bad := func(r *inspection.Record) {
		r.Places = []inspection.Place{{Designator: "U99", Observed: inspection.Extra}}
	}
	r := judge("{oneIn: 50}", unit(40, nil), unit(41, nil), unit(42, bad))
	require.Equal(t, assay.Inconclusive, r.Verdict)
	f := find(r, finding.InspectionDeviation)
	require.Len(t, f, 1)
	require.Equal(t, "lot:L-77/unit:S-LAB-0043", f[0].Subject)
	require.Equal(t, assay.Review, b.verify(b.caseWith(unit(42, bad))).Verdict, "without any policy too")

	old := func(r *inspection.Record) { bad(r); r.PerformedAt = labTime.AddDate(-1, 0, 0) }
	k := b.caseWith(unit(40, nil), unit(41, nil), unit(42, old))
	k.Policy = inspectionPolicy(t, "inspections:\n- {technique: [x-ray], sample: {oneIn: 50}, maxAge: 720h}\n")
	require.Equal(t, assay.Inconclusive, b.verify(k).Verdict, "an old deviation is one")

	strangers := func(r *inspection.Record) { r.Lot.Serials = nil }
	require.Equal(t, assay.Inconclusive, judge("{oneIn: 50}", unit(40, strangers), unit(41, strangers)).Verdict, "nobody says that this unit is of the lot")
	require.Equal(t, assay.Pass, judge("{oneIn: 50}", unit(40, strangers), unit(41, nil)).Verdict, "one list is enough")
	larger := func(r *inspection.Record) { r.Lot.Size = 500 }
	require.Equal(t, assay.Inconclusive, judge("{oneIn: 50}", unit(40, nil), unit(41, larger)).Verdict, "of two sizes the larger counts")
}

func TestInspectionRulesThatMeanNothing(t *testing.T) {
	for _, yaml := range []string{
		"[{}]", "[{technique: [sonar]}]", "[{technique: [aoi], sample: {}}]", "[{technique: [aoi], sample: {oneIn: -1}}]", "[{technique: [aoi], sample: {percent: 101}}]",
		"[{technique: [aoi], classes: [electronic], sample: {min: 1}}]", "[{technique: [aoi], sample: {oneOf: 5}}]", "[{technique: [aoi], maxAge: -1h}]",
	} {
		_, err := assay.ParsePolicy([]byte("id: x\ninspections: " + yaml + "\n"))
		require.Error(t, err, yaml)
	}
}

// A clip reads what the machine tells, or something is between them.
func TestClipDumps(t *testing.T) {
	b := newWorkshop(t, bom.Open)
	rom := machine(t, "baseline")["firmware/bios.rom"]
	record := func(data []byte) *inspection.Opened {
		sum := sha256.Sum256(data)
		o := b.opened(func(r *inspection.Record) {
			r.ID, r.Technique = "CLIP-1", inspection.ClipDump
			r.Attachments = []inspection.Attachment{{Name: "u12.bin", MediaType: "application/octet-stream", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data)), Flash: "bios"}}
		})
		return o
	}
	give := func(o *inspection.Opened, data []byte) *inspection.Opened {
		require.NoError(t, o.Attach(fstest.MapFS{"u12.bin": {Data: data}}))
		return o
	}
	same := b.verify(b.caseWith(give(record(rom), rom)))
	require.Equal(t, assay.Pass, same.Verdict, "%v", codesOf(same))
	require.Equal(t, "L5", same.Assurance.Level)
	require.Equal(t, "L6", b.verify(b.caseWith(give(record(rom), rom), b.opened(nil))).Assurance.Level)

	other := bytes.Clone(rom)
	other[len(other)-0x1000] ^= 0xff
	r := b.verify(b.caseWith(give(record(other), other)))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Len(t, find(r, finding.ReadsDisagree), 1)
	require.Contains(t, find(r, finding.ReadsDisagree)[0].Sources, finding.Physical)

	for reason, o := range map[string]*inspection.Opened{
		"no directory":     record(other),
		"another one was":  give(record(rom), other),
		"were signed":      give(record(rom), other[:100]),
		"not in the direc": func() *inspection.Opened { o := record(other); require.NoError(t, o.Attach(fstest.MapFS{})); return o }(),
	} {
		r := b.verify(b.caseWith(o))
		require.Equal(t, assay.Pass, r.Verdict, reason)
		require.Equal(t, "L4", r.Assurance.Level, reason)
		require.True(t, notChecked(r, reason), reason)
		require.Zero(t, r.Inspections[0].Verified)
		k := b.caseWith(o)
		k.Policy = inspectionPolicy(t, "inspections: [{technique: [clip-dump], attachments: true}]\n")
		require.Equal(t, assay.Inconclusive, b.verify(k).Verdict, reason)
	}
}
