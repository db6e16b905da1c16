// Package efi reads the UEFI structures that appear in event logs and
// variables: GUIDs, variables, signature lists, load options, device paths and
// partition tables.
//
// It proves that the bytes have the structure; whether they are what firmware
// measured is for the event's digest to say.
package efi

import (
	"encoding/binary"
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
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g[:]), binary.LittleEndian.Uint16(g[4:]),
		binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
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

// Printable replaces control characters and bytes that are not UTF-8.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff {
			return 0xfffd
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
