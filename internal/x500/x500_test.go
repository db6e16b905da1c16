package x500

import (
	"encoding/asn1"
	"slices"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

func tlv(tag byte, content ...byte) []byte {
	if len(content) > 127 {
		return append([]byte{tag, 0x82, byte(len(content) >> 8), byte(len(content))}, content...)
	}
	return append([]byte{tag, byte(len(content))}, content...)
}

// name builds one RDN per value; a value is a type under 2.5.4, a tag, a text.
func name(values ...[3]any) []byte {
	var out []byte
	for _, v := range values {
		oid, _ := asn1.Marshal(asn1.ObjectIdentifier{2, 5, 4, v[0].(int)})
		av := tlv(0x30, append(oid, tlv(byte(v[1].(int)), []byte(v[2].(string))...)...)...)
		out = append(out, tlv(0x31, av...)...)
	}
	return tlv(0x30, out...)
}

func TestNamesAreComparedByMeaning(t *testing.T) {
	a := name([3]any{6, 19, "US"}, [3]any{10, 19, "Intel Corporation"}, [3]any{3, 12, "Köln"})
	for _, same := range [][]byte{
		name([3]any{6, 19, "US"}, [3]any{10, 12, "Intel Corporation"}, [3]any{3, 12, "Köln"}),
		name([3]any{6, 19, "us"}, [3]any{10, 19, " INTEL   corporation "}, [3]any{3, 12, "KO\u0308LN"}),
		name([3]any{6, 19, "US"}, [3]any{10, 30, "\x00I\x00n\x00t\x00e\x00l\x00 \x00C\x00o\x00r\x00p\x00o\x00r\x00a\x00t\x00i\x00o\x00n"}, [3]any{3, 20, "K\xf6ln"}),
	} {
		require.True(t, Equal(a, same))
		require.Equal(t, Folded(a), Folded(same))
		n, err := Parse(same)
		require.NoError(t, err)
		require.Equal(t, Fold(String(a)), Fold(n.String()))
	}
	for _, other := range [][]byte{
		name([3]any{10, 19, "Intel Corporation"}, [3]any{6, 19, "US"}, [3]any{3, 12, "Köln"}), // order of parts counts
		name([3]any{6, 19, "US"}, [3]any{10, 19, "Intel Corporation"}),
		name([3]any{6, 19, "US"}, [3]any{11, 19, "Intel Corporation"}, [3]any{3, 12, "Köln"}),
		name([3]any{6, 19, "US"}, [3]any{10, 19, "Intel-Corporation"}, [3]any{3, 12, "Köln"}),
		nil,
		{0x30, 0x05, 1},
		{0x31, 0},
	} {
		require.False(t, Equal(a, other))
		require.NotEqual(t, Folded(a), Folded(other))
	}
}

func TestOneSetTakenApart(t *testing.T) {
	apart := name([3]any{6, 19, "TW"}, [3]any{10, 19, "Nuvoton"})
	body := slices.Concat(apart[4:4+int(apart[3])], apart[4+int(apart[3])+2:])
	one := tlv(0x30, tlv(0x31, body...)...)
	require.False(t, Equal(apart, one))
	require.True(t, SameValues(apart, one))
	require.False(t, SameValues(apart, name([3]any{6, 19, "TW"}, [3]any{10, 19, "Nuvotom"})))
	require.False(t, SameValues(apart, nil))
	require.True(t, SameTexts(String(apart), String(one)))
	require.True(t, SameTexts(`O=a\, b,C=TW`, `C=tw+O=A\,  B`))
	require.False(t, SameTexts(`O=a\,C=TW`, `O=a,C=TW`))
}

func TestWhatIsNoStringEqualsOnlyItself(t *testing.T) {
	a, b := name([3]any{3, 4, "x"}), name([3]any{3, 4, "X"})
	require.True(t, Equal(a, a))
	require.False(t, Equal(a, b))
	require.NotEqual(t, String(a), String(name([3]any{3, 12, "#040178"})), "bytes in a text are not bytes of another type")
}

func TestTextOfAName(t *testing.T) {
	n, err := Parse(name([3]any{6, 19, "CH"}, [3]any{10, 19, "ST, Micro+"}, [3]any{3, 12, "#1"}))
	require.NoError(t, err)
	require.Equal(t, `CN=\#1,O=ST\, Micro\+,C=CH`, n.String())
	require.Equal(t, "CH", n.First("2.5.4.6"))
	require.Equal(t, []string{"ST, Micro+"}, n.Organizations())
}

func FuzzParse(f *testing.F) {
	f.Add(name([3]any{6, 19, "US"}, [3]any{10, 12, "Intel"}))
	f.Add(name([3]any{3, 30, "\x00I"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Parse(b)
		if err != nil {
			return
		}
		require.True(t, Equal(b, b))
		require.True(t, n.Equal(n))
		_ = n.String()
	})
}

// Folding agrees with Unicode's full case folding on every character, as the library
// has it. It leaves the small letters of Cherokee alone, which CaseFolding.txt does not.
func TestFoldIsFullCaseFolding(t *testing.T) {
	full := func(s string) string { return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s))) }
	theirs, ours := map[string]string{}, map[string]string{}
	for r := rune('A'); r <= unicode.MaxRune; r++ {
		if r >= 0xd800 && r < 0xe000 || unicode.Is(unicode.Cherokee, r) || !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsNumber(r) && !unicode.IsSymbol(r) {
			continue
		}
		a, b := Fold("x"+string(r)), full("x"+string(r))
		if got, seen := theirs[a]; seen && got != b {
			t.Errorf("%U and another are one here, and two by Unicode", r)
		}
		if got, seen := ours[b]; seen && got != a {
			t.Errorf("%U and another are one by Unicode, and two here: %q %q", r, got, a)
		}
		theirs[a], ours[b] = b, a
	}
}
