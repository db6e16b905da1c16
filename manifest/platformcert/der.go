package platformcert

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assay-hw/assay/internal/x500"
)

// The bounds of a certificate. The largest real one is 6 KiB; the profile's own
// bounds (2.1, annex A) would allow ten times that.
const (
	maxFile       = 4 << 20
	maxDER        = 1 << 20
	maxAttributes = 64
	maxValues     = 16
	maxExtensions = 64
	maxComponents = 4096
	maxTraits     = 256
	maxText       = 4 << 10
)

// ctx is the context-specific tag of a field.
func ctx(n uint8) ctag.Tag { return ctag.Tag(n).ContextSpecific() }

// element reads one element of any tag, with its header.
func element(s *cryptobyte.String) (raw cryptobyte.String, tag ctag.Tag, ok bool) {
	ok = s.ReadAnyASN1Element(&raw, &tag)
	return raw, tag, ok
}

// inside returns the contents of an element.
func inside(raw cryptobyte.String) cryptobyte.String {
	var body cryptobyte.String
	var tag ctag.Tag
	raw.ReadAnyASN1(&body, &tag)
	return body
}

// readOID reads an object identifier into its dotted form.
func readOID(s *cryptobyte.String) (string, bool) {
	var o asn1.ObjectIdentifier
	if !s.ReadASN1ObjectIdentifier(&o) {
		return "", false
	}
	return o.String(), true
}

// readText reads a character string of any type; tag is the one that was found.
func readText(s *cryptobyte.String) (text string, tag ctag.Tag, ok bool) {
	raw, tag, ok := element(s)
	if !ok || len(raw) > maxText {
		return "", tag, false
	}
	text = x500.Text(raw)
	return text, tag, !strings.HasPrefix(text, "#") || isText(tag)
}

func isText(tag ctag.Tag) bool {
	switch tag {
	case ctag.UTF8String, ctag.PrintableString, ctag.IA5String, ctag.T61String, ctag.Tag(18), ctag.Tag(26), ctag.Tag(30):
		return true
	}
	return false
}

// readTime reads a GeneralizedTime or UTCTime in any of the spellings of BER:
// with fractions of seconds, or an offset.
func readTime(s *cryptobyte.String) (time.Time, error) {
	var body cryptobyte.String
	var tag ctag.Tag
	if !s.ReadAnyASN1(&body, &tag) {
		return time.Time{}, malformed("no time")
	}
	layouts := []string{"20060102150405Z0700", "200601021504Z0700", "20060102150405.999999999Z0700"}
	if tag == ctag.UTCTime {
		layouts = []string{"060102150405Z0700", "0601021504Z0700"}
	} else if tag != ctag.GeneralizedTime {
		return time.Time{}, malformed("a time of tag %d", tag)
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, string(body)); err == nil {
			if tag == ctag.UTCTime && t.Year() >= 2050 {
				t = t.AddDate(-100, 0, 0) // RFC 5280, 4.1.2.5.1
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, malformed("time %q", clip(string(body)))
}

// readAlgorithm reads an AlgorithmIdentifier, and keeps its bytes.
func readAlgorithm(s *cryptobyte.String) (name string, raw []byte, err error) {
	var e, seq cryptobyte.String
	if !s.ReadASN1Element(&e, ctag.SEQUENCE) {
		return "", nil, malformed("no algorithm identifier")
	}
	raw, seq = e, inside(e)
	name, ok := readOID(&seq)
	if !ok {
		return "", nil, malformed("algorithm identifier without algorithm")
	}
	return name, raw, nil
}

// positive reads an INTEGER of any size, with its sign.
func readInt(s *cryptobyte.String) (*big.Int, bool) {
	var body cryptobyte.String
	if !s.ReadASN1(&body, ctag.INTEGER) || len(body) == 0 || len(body) > 64 {
		return nil, false
	}
	return bytesInt(body), true
}

// bytesInt is the value of an INTEGER's contents. Issuers pad them, and leave
// out the zero that makes them positive.
func bytesInt(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// build runs a builder whose parts cannot fail.
func build(f func(*cryptobyte.Builder)) []byte {
	b := cryptobyte.NewBuilder(nil)
	f(b)
	out, err := b.Bytes()
	if err != nil {
		return nil
	}
	return out
}

// under adds an element of a tag around other parts.
func under(b *cryptobyte.Builder, tag ctag.Tag, f func(*cryptobyte.Builder)) {
	b.AddASN1(tag, func(c *cryptobyte.Builder) { f(c) })
}

func addText(b *cryptobyte.Builder, tag ctag.Tag, s string) {
	under(b, tag, func(c *cryptobyte.Builder) { c.AddBytes([]byte(s)) })
}

// addTag adds an IMPLICIT field with the contents of a DER element.
func addTag(b *cryptobyte.Builder, tag ctag.Tag, der []byte) {
	under(b, tag, func(c *cryptobyte.Builder) { c.AddBytes(inside(der)) })
}

// container finds the encoded certificates in a file: DER, base64, or PEM
// behind any text. Only the first is read; more are told.
func container(b []byte) (der []byte, notes []Note, err error) {
	if len(b) > maxFile {
		return nil, nil, fmt.Errorf("offset %d: exceeds the limit of %d bytes", maxFile, maxFile)
	}
	if len(b) > 0 && b[0] == 0x30 {
		return cut(b)
	}
	blocks, notes, err := pemBlocks(b)
	if err != nil {
		return nil, nil, err
	}
	if len(blocks) == 0 {
		raw, err := decode64(b)
		if err != nil || len(raw) == 0 || raw[0] != 0x30 {
			return nil, nil, malformed("neither DER nor PEM of a certificate")
		}
		blocks, notes = [][]byte{raw}, append(notes, note("container", "bare base64 without PEM lines"))
	}
	if len(blocks) > 1 {
		notes = append(notes, note("container", "%d certificates in one file; only the first was read", len(blocks)))
	}
	der, more, err := cut(blocks[0])
	return der, append(notes, more...), err
}

// cut takes the outermost SEQUENCE, and tells what follows it.
func cut(b []byte) (der []byte, notes []Note, err error) {
	s := cryptobyte.String(b)
	var e cryptobyte.String
	if !s.ReadASN1Element(&e, ctag.SEQUENCE) {
		return nil, nil, malformed("offset 0: no complete DER sequence")
	}
	if len(e) > maxDER {
		return nil, nil, fmt.Errorf("offset 0: a certificate of %d bytes exceeds the limit of %d", len(e), maxDER)
	}
	if len(s) > 0 {
		notes = append(notes, note("container", "%d bytes behind the certificate", len(s)))
	}
	return e, notes, nil
}

// pemLabels are the labels under which attribute certificates are found.
var pemLabels = []string{"ATTRIBUTE CERTIFICATE", "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"}

// pemBlocks reads the blocks of the known labels. Lines may be of any length,
// and end in any way.
func pemBlocks(b []byte) (blocks [][]byte, notes []Note, err error) {
	first := bytes.Index(b, []byte("-----BEGIN "))
	if first > 0 && len(bytes.TrimSpace(b[:first])) > 0 {
		notes = append(notes, note("container", "%d bytes of text before the PEM block", first))
	}
	for at := first; at >= 0 && len(blocks) < 64; {
		label, body, end, ok := pemBlock(b[at:])
		if !ok {
			return nil, nil, malformed("offset %d: PEM block without end", at)
		}
		if contains(pemLabels, label) {
			raw, err := decode64(body)
			if err != nil {
				return nil, nil, malformed("offset %d: PEM block: %v", at, err)
			}
			blocks = append(blocks, raw)
		}
		rest := b[at+end:]
		next := bytes.Index(rest, []byte("-----BEGIN "))
		if next < 0 {
			if len(bytes.TrimSpace(rest)) > 0 {
				notes = append(notes, note("container", "%d bytes of text behind the PEM block", len(rest)))
			}
			break
		}
		at += end + next
	}
	return blocks, notes, nil
}

func pemBlock(b []byte) (label string, body []byte, end int, ok bool) {
	head := b[len("-----BEGIN "):]
	n := bytes.Index(head, []byte("-----"))
	if n < 0 || n > 64 {
		return "", nil, 0, false
	}
	label = string(head[:n])
	last := []byte("-----END " + label + "-----")
	start := len("-----BEGIN ") + n + len("-----")
	m := bytes.Index(b[start:], last)
	if m < 0 {
		return "", nil, 0, false
	}
	return label, b[start : start+m], start + m + len(last), true
}

func decode64(b []byte) ([]byte, error) {
	clean := bytes.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' || r == ' ' {
			return -1
		}
		return r
	}, b)
	return base64.StdEncoding.DecodeString(string(clean))
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// clip shortens hostile text in messages.
func clip(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
