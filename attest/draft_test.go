package attest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

func TestDraftCarriesEveryBank(t *testing.T) {
	for _, r := range recorded(t, "baseline").DraftReferences() {
		for _, e := range r.Events {
			for _, bank := range []string{"sha1", "sha256", "sha384"} {
				require.Len(t, e.Digests[bank], 1, "PCR %d %s", r.PCR, e.Label)
			}
			require.NotEmpty(t, e.Type)
		}
		require.NotEqual(t, 10, r.PCR, "IMA's register moves as files are read")
		require.NotEmpty(t, r.Digests, "PCR %d", r.PCR)
	}
}

// A draft is signed as JSON that refuses control characters and text that is
// not normal.
func TestDraftIsStrictJSON(t *testing.T) {
	p := newPlatform(t)
	p.add(12, tcglog.IPL, []byte("e\xcc\x81 \x1b[2J \xff text"))
	p.add(1, tcglog.EFIVariableBoot, variable(guidGlobal, "Boot\u0001", []byte{1}))
	refs := append(p.observe().DraftReferences(), recorded(t, "baseline").DraftReferences()...)
	b, err := json.Marshal(refs)
	require.NoError(t, err)
	var back []Reference
	require.NoError(t, strictjson.Decode(b, &back))
	require.Equal(t, refs, back)
}

func TestDraftWithoutALogHoldsValues(t *testing.T) {
	p := newPlatform(t).boot()
	p.files[logPath] = nil
	refs := p.observe().DraftReferences()
	require.NotEmpty(t, refs)
	for _, r := range refs {
		require.Empty(t, r.Events)
		require.NotEmpty(t, r.Note)
	}
	a := newPlatform(t).observe().Appraise(Params{References: refs})
	require.Empty(t, above(a, finding.Low))
}

func TestMergeLearnsWhatVaries(t *testing.T) {
	unit := func(edit func(*platform)) []Reference {
		p := newPlatform(t)
		edit(p)
		return p.observe().DraftReferences()
	}
	same, vs := MergeReferences([][]Reference{unit(func(*platform) {}), unit(func(*platform) {})})
	require.Empty(t, vs)
	require.Equal(t, unit(func(*platform) {}), same)

	other := func(p *platform) { p.find(9, tcglog.IPL, 0).over = []byte("kernel of another unit") }
	extra := func(p *platform) { p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte("storage driver")) }
	merged, vs := MergeReferences([][]Reference{unit(func(*platform) {}), unit(other), unit(extra)})
	require.Len(t, vs, 2)
	require.Equal(t, "PCR 2: Pci(0x3,0x0): not every unit measures this", vs[0].String())
	require.Equal(t, "PCR 9: (hd0,gpt1)/vmlinuz: the measured contents vary", vs[1].String())
	for _, edit := range []func(*platform){func(*platform) {}, other, extra, func(p *platform) { other(p); extra(p) }} {
		p := newPlatform(t)
		edit(p)
		require.Empty(t, above(p.observe().Appraise(Params{References: merged}), finding.Low))
	}
	p := newPlatform(t)
	p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte("implant"))
	require.Contains(t, codes(p.observe().Appraise(Params{References: merged})), finding.UnexpectedEvent)
	none, vs := MergeReferences(nil)
	require.Empty(t, none)
	require.Empty(t, vs)
}

// Whatever a platform measures, its own draft describes it; one more event is
// always found.
func TestDraftDescribesItsOwnPlatform(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlatform(t)
		for range rapid.IntRange(0, 8).Draw(rt, "events") {
			p.addOver(uint32(rapid.SampledFrom([]int{1, 2, 4, 6, 9, 11}).Draw(rt, "pcr")), tcglog.IPL, rapid.SliceOfN(rapid.Byte(), 5, 9).Draw(rt, "data"), rapid.SliceOfN(rapid.Byte(), 5, 9).Draw(rt, "over"))
		}
		o := p.observe()
		params := Params{References: o.DraftReferences()}
		if bad := above(o.Appraise(params), finding.Low); len(bad) > 0 {
			rt.Fatalf("%v", bad)
		}
		q := newPlatform(t)
		q.events = append(p.events, record{pcr: 2, typ: tcglog.EFIBootServicesDriver, data: imageLoad(), over: []byte("implant")})
		if len(above(q.observe().Appraise(params), finding.Low)) == 0 {
			rt.Fatal("an added driver was not found")
		}
	})
}

// The alignment consumes every event and every reference exactly once.
func TestAlignmentIsOneToOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		letters := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 12)
		want, got := letters.Draw(rt, "want"), letters.Draw(rt, "got")
		ref := &Reference{}
		for _, w := range want {
			ref.Events = append(ref.Events, EventReference{Digests: map[string][]string{"sha256": {lowerHex(make32(w))}}})
		}
		var events []*tcglog.Event
		for _, g := range got {
			events = append(events, &tcglog.Event{Digests: []tcglog.Digest{{Alg: tpmwire.SHA256, Value: make32(g)}}})
		}
		a := align(ref, events, tpmwire.SHA256)
		if a.matched+len(a.reordered)+len(a.unexpected) != len(got) || a.matched+len(a.reordered)+len(a.missing) != len(want) {
			rt.Fatalf("%+v", a)
		}
		count := func(xs []int, v int) (n int) {
			for _, x := range xs {
				if x == v {
					n++
				}
			}
			return n
		}
		extra := 0
		for v := range 4 {
			extra += max(0, count(got, v)-count(want, v))
		}
		if len(a.unexpected) != extra {
			rt.Fatalf("unexpected %d, want %d", len(a.unexpected), extra)
		}
	})
}

// Manifests of other tools write digests in upper case.
func TestDigestsMatchInEitherCase(t *testing.T) {
	d := bytes.Repeat([]byte{0xab}, 32)
	events := []*tcglog.Event{{Digests: []tcglog.Digest{{Alg: tpmwire.SHA256, Value: d}}}}
	for _, text := range []string{lowerHex(d), strings.ToUpper(lowerHex(d)), "Ab" + lowerHex(d)[2:]} {
		ref := &Reference{Events: []EventReference{{Digests: map[string][]string{"sha256": {text}}}}}
		a := align(ref, events, tpmwire.SHA256)
		require.True(t, a.clean(), text)
		require.Equal(t, 1, a.matched, text)
	}
	for _, text := range []string{"", lowerHex(d)[2:], lowerHex(d) + "00", strings.Repeat("zz", 32)} {
		ref := &Reference{Events: []EventReference{{Digests: map[string][]string{"sha256": {text}}}}}
		a := align(ref, events, tpmwire.SHA256)
		require.False(t, a.clean(), text)
	}
}

func make32(v int) []byte { b := make([]byte, 32); b[0] = byte(v); return b }

func TestRegisterValueForms(t *testing.T) {
	v32 := strings.Repeat("ab", 32)
	for name, s := range map[string]string{
		"by name":             `{"sha256":{"0":"` + v32 + `"}}`,
		"by number":           `{"11":{"0":"` + v32 + `"}}`,
		"by length":           `{"":{"0":"` + v32 + `"}}`,
		"keyed by log":        `{"my.log":{"sha256":{"0":"` + v32 + `"}},"other":{}}`,
		"tpm2_eventlog":       "events:\n- EventNum: 0\npcrs:\n  sha256:\n    0  : 0x" + v32 + "\n",
		"lines without title": "sha256:\n  0: " + v32,
	} {
		got, err := ParseRegisterValues([]byte(s), "my.log")
		require.NoError(t, err, name)
		require.Len(t, got.value(tpmwire.SHA256, 0), 32, name)
	}
	for _, bad := range []string{"", "{", `{"md5":{"0":"00"}}`, `{"sha256":{"24":"` + v32 + `"}}`, `{"sha256":{"0":"00"}}`, `{"sha256":{"0":"` + v32 + `","00":"` + strings.Repeat("cd", 32) + `"}}`, "0: 11", "hello"} {
		_, err := ParseRegisterValues([]byte(bad), "")
		require.Error(t, err, bad)
	}
}

func TestMalformedArtefactsAreFindings(t *testing.T) {
	p := newPlatform(t).boot()
	for _, n := range []string{pcrsPath, propsPath, ekPath, "tpm/ek-0x01c00002.crt", "tpm/quote-sha256.attest", "tpm/quote-sha256.sig", timePath, imaPath, "proc/uptime", tpmDir + "/pcr-sha256/0", efivarsDir + "/Boot0000-" + "8be4df61-93ca-11d2-aa0d-00e098032b8c"} {
		p.files[n] = []byte("x!")
	}
	p.files[logPath] = append(p.log(), "garbage"...)
	a := p.observe().Appraise(Params{})
	for _, n := range []string{pcrsPath, propsPath, ekPath, "tpm/ek-0x01c00002.crt", "tpm/quote-sha256.attest", timePath, imaPath, "proc/uptime", tpmDir + "/pcr-sha256/0", logPath} {
		f := one(t, a, finding.InputMalformed, "evidence:"+n)
		require.NotEmpty(t, f.Got)
		require.NotEmpty(t, f.Basis)
	}
	require.False(t, a.Quoted)
}

func TestFloodOfQuotesIsBounded(t *testing.T) {
	p := newPlatform(t).boot()
	for i := range 40 {
		p.quote(fmt.Sprintf("%02d", i), testNonce, selection{tpmwire.SHA256, allRegisters})
	}
	o := p.observe()
	require.Len(t, o.attests, maxSigned)
	require.Equal(t, "40", one(t, o.Appraise(Params{}), finding.InputLimit, "evidence:tpm/quote-*.attest").Got)
}

func TestEventListing(t *testing.T) {
	l, err := ParseLog(newPlatform(t).log())
	require.NoError(t, err)
	require.Equal(t, []string{"sha256"}, l.Banks())
	require.Zero(t, l.Padding())
	es := l.Events()
	require.Equal(t, "EV_S_CRTM_VERSION", es[0].Type)
	require.Equal(t, "covered", es[0].Data)
	require.Equal(t, "not covered", es[1].Data)
	require.Equal(t, "SecureBoot", es[2].Label)
	rs := l.Replay(nil)
	require.Equal(t, NotAttested, rs[0].Result)
	require.NotEmpty(t, rs[0].Replayed)
}

// FuzzObserve feeds one hostile artefact at a time to the whole appraisal.
func FuzzObserve(f *testing.F) {
	names := []string{logPath, pcrsPath, propsPath, akPath, ekPath, "tpm/quote-sha256.attest", "tpm/quote-sha256.sig", "tpm/ek-0x01c00002.crt", timePath, imaPath}
	base := recorded(f, "baseline").bundle
	for i, n := range names {
		b, _ := base.Read(n)
		f.Add(uint8(i), b)
	}
	ref := recorded(f, "baseline")
	params := labParams(f, ref)
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		files := map[string][]byte{}
		for _, a := range base.Artifacts() {
			files[a.Path], _ = base.Read(a.Path)
		}
		files[names[int(which)%len(names)]] = b
		o := Observe(bundleOf(t, files))
		o.Appraise(params)
		o.DraftReferences()
	})
}

// FuzzParseRegisterValues: values are read or refused.
func FuzzParseRegisterValues(f *testing.F) {
	f.Add([]byte(`{"sha256":{"0":"00"}}`))
	f.Add([]byte("{\"sha1\": {\"0\":\"0000000000000000000000000000000000000000\",\n\"23\":\"ffffffffffffffffffffffffffffffffffffffff\"}, \"sha256\":{}}"))
	f.Add([]byte(`{"TPM2_PT_LEVEL":"0","TPM2_PT_REVISION":"0x8A"}`))
	f.Add([]byte("pcrs:\n  sha1:\n    0 : 0x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := ParseRegisterValues(b, "log"); err == nil && v == nil {
			t.Fatal("neither values nor a reason")
		}
		if v, ok := plainRegisters(b); ok {
			w, err := anyRegisters(b)
			require.NoError(t, err)
			require.Equal(t, w, v)
		}
		if v, ok := strictjson.Texts(b); ok {
			var w map[string]string
			require.NoError(t, json.Unmarshal(b, &w))
			require.Equal(t, w, v)
		}
	})
}

func benchLog(b *testing.B) []byte {
	raw, err := os.ReadFile("testdata/baseline/" + logPath)
	require.NoError(b, err)
	// A server's log is about 34 KB.
	p := newPlatform(b)
	p.banks = []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256}
	for len(p.log()) < 34<<10 {
		p.add(2, tcglog.EFIBootServicesDriver, raw[:256])
	}
	return p.log()
}

func BenchmarkParseAndReplay(b *testing.B) {
	raw := benchLog(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := tcglog.Parse(raw, tcglog.DefaultLimits())
		if err != nil {
			b.Fatal(err)
		}
		newReplayer(l, tpmwire.SHA256)
	}
}

func BenchmarkAppraise(b *testing.B) {
	o := recorded(b, "baseline")
	p := labParams(b, o)
	b.ReportAllocs()
	for b.Loop() {
		o.Appraise(p)
	}
}

// A hostile log against a large reference must stay cheap.
func BenchmarkHostileLog(b *testing.B) {
	p := newPlatform(b)
	for i := range 4000 {
		p.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte{byte(i), byte(i >> 8), 1})
	}
	ref := p.boot().observe().DraftReferences()
	q := newPlatform(b)
	for i := range 4000 {
		q.addOver(2, tcglog.EFIBootServicesDriver, imageLoad(), []byte{byte(i), byte(i >> 8), 2})
	}
	o := q.boot().observe()
	for b.Loop() {
		o.Appraise(Params{References: ref})
	}
}
