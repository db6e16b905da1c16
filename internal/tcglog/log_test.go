package tcglog

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/internal/tpmwire"
)

type builder struct{ b []byte }

func (w *builder) u32(v uint32) *builder {
	w.b = binary.LittleEndian.AppendUint32(w.b, v)
	return w
}

func (w *builder) u16(v uint16) *builder {
	w.b = binary.LittleEndian.AppendUint16(w.b, v)
	return w
}

func (w *builder) raw(b ...byte) *builder {
	w.b = append(w.b, b...)
	return w
}

func (w *builder) sized(b []byte) *builder { return w.u32(uint32(len(b))).raw(b...) }

// header writes a Spec ID record with the given banks.
func header(banks ...Bank) *builder {
	s := (&builder{}).raw([]byte(specID03)...).raw(0, 0, 0, 0, 0, 2, 106, 2).u32(uint32(len(banks)))
	for _, b := range banks {
		s.u16(uint16(b.Alg)).u16(uint16(b.Size))
	}
	s.raw(0)
	return (&builder{}).u32(0).u32(uint32(NoAction)).raw(make([]byte, 20)...).sized(s.b)
}

func (w *builder) event(pcr uint32, typ EventType, data []byte, algs ...tpmwire.Algorithm) *builder {
	w.u32(pcr).u32(uint32(typ)).u32(uint32(len(algs)))
	for _, a := range algs {
		w.u16(uint16(a)).raw(bytes.Repeat([]byte{byte(a)}, a.Size())...)
	}
	return w.sized(data)
}

var sha256Bank = Bank{tpmwire.SHA256, 32}

func sample() []byte {
	return header(Bank{tpmwire.SHA1, 20}, sha256Bank).
		event(0, SCRTMVersion, []byte("v\x001\x00"), tpmwire.SHA1, tpmwire.SHA256).
		event(2, 0x800000e1, []byte("spdm"), tpmwire.SHA1, tpmwire.SHA256).
		event(0, Separator, make([]byte, 4), tpmwire.SHA1, tpmwire.SHA256).b
}

func TestCryptoAgileLog(t *testing.T) {
	l, err := Parse(sample(), DefaultLimits())
	require.NoError(t, err)
	require.True(t, l.Agile)
	require.Len(t, l.Banks, 2)
	require.Len(t, l.Events, 3)
	e := l.Events[0]
	require.Equal(t, 1, e.Number)
	require.Equal(t, bytes.Repeat([]byte{0x0b}, 32), e.Digest(tpmwire.SHA256))
	require.Nil(t, e.Digest(tpmwire.SHA384))
	require.Equal(t, "v\x001\x00", string(e.Data))
	require.Equal(t, sample()[e.Offset : e.Offset+e.Length][len(e.Data):], sample()[e.Offset+len(e.Data):e.Offset+e.Length])
}

// Room for the records is made once, however many there are.
func TestParseAllocatesNothingPerEvent(t *testing.T) {
	allocations := func(events int) float64 {
		w := header(Bank{tpmwire.SHA1, 20}, sha256Bank)
		for range events {
			w.event(1, IPL, []byte("data"), tpmwire.SHA1, tpmwire.SHA256)
		}
		return testing.AllocsPerRun(5, func() {
			l, err := Parse(w.b, DefaultLimits())
			if err != nil || len(l.Events) != events {
				t.Error("not read as it should be")
			}
		})
	}
	require.Equal(t, allocations(3), allocations(300))
}

func TestSHA1Log(t *testing.T) {
	b := (&builder{}).u32(4).u32(uint32(IPL)).raw(make([]byte, 20)...).sized([]byte("IPL code")).
		u32(0xffffffff).u32(uint32(NoAction)).raw(make([]byte, 20)...).sized(nil).b
	l, err := Parse(b, DefaultLimits())
	require.NoError(t, err)
	require.False(t, l.Agile)
	require.Nil(t, l.Header)
	require.Len(t, l.Events, 2)
	require.False(t, l.Events[1].Measured(), "Windows' virtual register holds nothing")
}

// P1: every count and length is bounded before anything is allocated.
func TestP1Limits(t *testing.T) {
	many := header(sha256Bank)
	for range 10 {
		many.event(0, Separator, nil, tpmwire.SHA256)
	}
	small := DefaultLimits()
	for name, tc := range map[string]struct {
		log    []byte
		limits Limits
		want   error
	}{
		"log too large":             {sample(), Limits{Bytes: 50, Events: 10, EventBytes: 100, Digests: 5}, ErrLimit},
		"too many events":           {many.b, Limits{Bytes: 1 << 20, Events: 9, EventBytes: 100, Digests: 5}, ErrLimit},
		"event data too large":      {sample(), Limits{Bytes: 1 << 20, Events: 9, EventBytes: 60, Digests: 5}, nil},
		"event data over the limit": {header(sha256Bank).event(0, IPL, make([]byte, 100), tpmwire.SHA256).b, Limits{Bytes: 1 << 20, Events: 9, EventBytes: 60, Digests: 5}, ErrLimit},
		"nine digests":              {header(sha256Bank).u32(0).u32(1).u32(9).b, small, ErrLimit},
		"four billion digests":      {header(sha256Bank).u32(0).u32(1).u32(0xffffffff).b, small, ErrLimit},
		"four gigabytes of data":    {header(sha256Bank).u32(0).u32(1).u32(0).u32(0xffffffff).b, small, ErrTruncated},
		"four billion banks":        {(&builder{}).u32(0).u32(3).raw(make([]byte, 20)...).sized(append([]byte(specID03), 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255)).b, small, ErrLimit},
		"no bank":                   {header().b, small, ErrLimit},
		"empty":                     {nil, small, ErrTruncated},
		"cut inside a digest":       {sample()[:len(sample())-30], small, ErrTruncated},
		"cut inside the header":     {sample()[:40], small, ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Parse(tc.log, tc.limits)
			require.NotNil(t, l)
			if tc.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tc.want)
		})
	}
}

// P2: types, registers and declared algorithms that nobody knows are data.
func TestP2UnknownIsKept(t *testing.T) {
	odd := Bank{0x1234, 7}
	b := header(odd, sha256Bank).u32(99).u32(0xdeadbeef).u32(2).u16(0x1234).raw(1, 2, 3, 4, 5, 6, 7).
		u16(uint16(tpmwire.SHA256)).raw(make([]byte, 32)...).sized([]byte("x")).b
	l, err := Parse(b, DefaultLimits())
	require.NoError(t, err)
	e := l.Events[0]
	require.Equal(t, uint32(99), e.PCR)
	require.Equal(t, "0xdeadbeef", e.Type.String())
	require.False(t, e.Type.Known())
	require.True(t, Separator.Known())
	require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 7}, e.Digest(0x1234))
	require.True(t, l.Bank(0x1234))
}

// P3: a run of padding ends the log and is counted; anything else behind the
// last record is refused.
func TestP3Padding(t *testing.T) {
	for _, fill := range []byte{0, 0xff} {
		l, err := Parse(append(sample(), bytes.Repeat([]byte{fill}, 999)...), DefaultLimits())
		require.NoError(t, err)
		require.Len(t, l.Events, 3)
		require.Equal(t, 999, l.Padding)
	}
	for name, tail := range map[string][]byte{
		"text":                    []byte("not a record"),
		"padding with a surprise": append(make([]byte, 500), 1),
		"mixed padding":           append(make([]byte, 20), 0xff, 0xff),
	} {
		l, err := Parse(append(sample(), tail...), DefaultLimits())
		require.Error(t, err, name)
		require.GreaterOrEqual(t, len(l.Events), 3, name)
	}
}

// P4: the header's sizes are those of the algorithms, and no digest is of an
// algorithm that nobody can measure.
func TestP4SpecID(t *testing.T) {
	for name, b := range map[string][]byte{
		"wrong size":            header(Bank{tpmwire.SHA256, 20}).b,
		"no size":               header(Bank{0x1234, 0}).b,
		"a bank twice":          header(sha256Bank, sha256Bank).b,
		"short header":          (&builder{}).u32(0).u32(3).raw(make([]byte, 20)...).sized([]byte(specID03 + "1234")).b,
		"list of banks cut":     (&builder{}).u32(0).u32(3).raw(make([]byte, 20)...).sized(append([]byte(specID03), 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 11, 0)).b,
		"undeclared, unknown":   header(sha256Bank).u32(0).u32(1).u32(1).u16(0x7777).raw(make([]byte, 40)...).b,
		"two digests of a bank": header(sha256Bank).event(0, IPL, nil, tpmwire.SHA256, tpmwire.SHA256).b,
	} {
		_, err := Parse(b, DefaultLimits())
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	l, err := Parse(header(sha256Bank).event(0, IPL, nil, tpmwire.SHA384).b, DefaultLimits())
	require.NoError(t, err, "a known algorithm has a known size")
	require.Equal(t, []tpmwire.Algorithm{tpmwire.SHA384}, l.Undeclared)
}

func TestTypeNames(t *testing.T) {
	for typ, name := range typeNames {
		got, ok := TypeNamed(name)
		require.True(t, ok)
		require.Equal(t, typ, got)
	}
	got, ok := TypeNamed("0x00008401")
	require.True(t, ok)
	require.Equal(t, EventType(0x8401), got)
	_, ok = TypeNamed("EV_NONSENSE")
	require.False(t, ok)
}

// What was parsed is exactly what lies in the bytes: records follow each other
// without a gap.
func TestRecordsTileTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := header(sha256Bank)
		n := rapid.IntRange(0, 20).Draw(t, "events")
		for range n {
			data := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data")
			w.event(rapid.Uint32().Draw(t, "pcr"), EventType(rapid.Uint32().Draw(t, "type")), data, tpmwire.SHA256)
		}
		w.event(0, IPL, []byte{7}, tpmwire.SHA256)
		l, err := Parse(w.b, DefaultLimits())
		require.NoError(t, err)
		require.Len(t, l.Events, n+1)
		at := l.Header.Length
		for _, e := range l.Events {
			require.Equal(t, at, e.Offset)
			at += e.Length
		}
		require.Equal(t, len(w.b), at)
	})
}

func recordedLog(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("../../attest/testdata/baseline/sys/kernel/security/tpm0/binary_bios_measurements")
	require.NoError(tb, err)
	return b
}

func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Add(recordedLog(f))
	f.Add(append(sample(), make([]byte, 64)...))
	f.Add((&builder{}).u32(4).u32(uint32(IPL)).raw(make([]byte, 20)...).sized([]byte("IPL code")).b)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b, DefaultLimits())
		if l == nil {
			t.Fatal("no log")
		}
		if err == nil && len(l.Events) == 0 && l.Header == nil {
			t.Fatal("nothing read and no reason")
		}
		for i := range l.Events {
			e := &l.Events[i]
			if e.Offset+e.Length > len(b) || len(e.Data) > e.Length {
				t.Fatal("record outside the log")
			}
			_ = e.Type.String()
		}
	})
}

func BenchmarkParse(b *testing.B) {
	log := recordedLog(b)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(log, DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
