// Package efi reads the UEFI structures that appear in event logs and
// variables: GUIDs, variables, signature lists, load options, device paths and
// partition tables.
//
// It proves that the bytes have the structure; whether they are what firmware
// measured is for the event's digest to say.
package efi

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// ErrMalformed is wrapped by every refusal.
var ErrMalformed = errors.New("malformed UEFI structure")

// GUID is an EFI_GUID in its stored byte order.
type GUID [16]byte

// String returns the registry form in lower case.
func (g GUID) String() string {
	switch g { // of nearly every variable and signature
	case GUID{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}:
		return GlobalVariable
	case GUID{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}:
		return ImageSecurity
	case GUID{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}:
		return CertX509
	case GUID{0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28}:
		return CertSHA256
	}
	return g.text()
}

func (g GUID) text() string {
	// The first three fields are stored little-endian.
	swapped := [16]byte{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}
	var out [36]byte
	at := 0
	for _, field := range [...][]byte{swapped[:4], swapped[4:6], swapped[6:8], swapped[8:10], swapped[10:]} {
		if at > 0 {
			out[at] = '-'
			at++
		}
		at += hex.Encode(out[at:], field)
	}
	return string(out[:])
}

// The GUIDs that this package's callers compare with, in registry form.
const (
	GlobalVariable  = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	ImageSecurity   = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
	Shim            = "605dab50-e046-4300-abb6-3dd810dd8b23"
	CertX509        = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
	CertSHA256      = "c1c41626-504c-4092-aca9-41f936934328"
	LoaderInterface = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrMalformed)
}

// Text decodes UTF-16LE up to the first NUL; characters that are not printable
// become U+FFFD so that a name cannot move a terminal's cursor.
func Text(b []byte) string {
	if s, ok := plainText(b); ok {
		return s
	}
	u := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return Printable(string(utf16.Decode(u)))
}

// plainText decodes what nearly every name is: printable characters of ASCII,
// none of which Text would replace.
func plainText(b []byte) (string, bool) {
	var short [64]byte
	out := short[:0]
	for i := 0; i+1 < len(b); i += 2 {
		switch c := binary.LittleEndian.Uint16(b[i:]); {
		case c == 0:
			return string(out), true
		case c < 0x20 || c > 0x7e:
			return "", false
		default:
			out = append(out, byte(c))
		}
	}
	return string(out), true
}

// Printable replaces control characters and bytes that are not UTF-8.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
			return 0xfffd
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
