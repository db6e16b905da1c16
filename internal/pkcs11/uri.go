// Package pkcs11 reads PKCS #11 URIs (RFC 7512), and defines what assay and its
// program for tokens say to each other. It opens no token.
package pkcs11

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// URI names a private key in a token. Empty fields fit anything.
type URI struct {
	Token, Manufacturer, Model, Serial string // of the token, as it says itself
	Object                             string // label of the key
	ID                                 []byte // CKA_ID of the key
	Slot                               int    // slot-id, -1 when not given

	Module    string // module-path: the library that speaks to the token
	PINSource string // pin-source: where the PIN is, never the PIN
}

// Scheme begins every URI. It is compared without regard to case (RFC 3986, 3.1).
const Scheme = "pkcs11:"

const maxURI = 4096

// ErrPINValue is what a URI with a PIN in it gets: command lines are seen by
// every user of a machine.
var ErrPINValue = errors.New("pin-value would show the PIN to everybody who lists processes; use pin-source=file:PATH, or ASSAY_KEY_PIN")

// ParseURI reads a URI. Attributes that it does not know are refused: an ignored
// one would select another key than its author meant.
func ParseURI(s string) (*URI, error) {
	if len(s) > maxURI {
		return nil, fmt.Errorf("PKCS #11 URI: %d bytes, the limit is %d", len(s), maxURI)
	}
	if len(s) < len(Scheme) || !strings.EqualFold(s[:len(Scheme)], Scheme) {
		return nil, fmt.Errorf("PKCS #11 URI: does not begin with %q", Scheme)
	}
	u := &URI{Slot: -1}
	path, query, _ := strings.Cut(s[len(Scheme):], "?")
	if err := each(path, ";", u.path); err != nil {
		return nil, err
	}
	if err := each(query, "&", u.query); err != nil {
		return nil, err
	}
	if u.Object == "" && u.ID == nil {
		return nil, errors.New("PKCS #11 URI: names no key: give object or id")
	}
	return u, nil
}

// each gives the attributes of one part of a URI, each once.
func each(part, separator string, set func(name, value string) error) error {
	var seen []string
	for _, a := range strings.Split(part, separator) {
		if a == "" {
			continue
		}
		name, raw, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("PKCS #11 URI: %q is no attribute", a)
		}
		if slices.Contains(seen, name) {
			return fmt.Errorf("PKCS #11 URI: %s is given twice", name)
		}
		seen = append(seen, name)
		value, err := Unescape(raw)
		if err == nil && strings.IndexByte(value, 0) >= 0 && name != "id" {
			err = errors.New("holds a zero byte")
		}
		if err == nil {
			err = set(name, value)
		}
		if err != nil {
			return fmt.Errorf("PKCS #11 URI: %s: %w", name, err)
		}
	}
	return nil
}

func (u *URI) path(name, value string) error {
	switch name {
	case "token":
		u.Token = value
	case "manufacturer":
		u.Manufacturer = value
	case "model":
		u.Model = value
	case "serial":
		u.Serial = value
	case "object":
		u.Object = value
	case "id":
		u.ID = []byte(value)
	case "slot-id":
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return errors.New("is no number of a slot")
		}
		u.Slot = int(n)
	case "type":
		if value != "private" {
			return fmt.Errorf("is %q, and a private key is needed", value)
		}
	default:
		return errors.New("is not supported")
	}
	return nil
}

func (u *URI) query(name, value string) error {
	switch name {
	case "module-path":
		u.Module = value
	case "pin-source":
		u.PINSource = value
	case "pin-value":
		return ErrPINValue
	default:
		return errors.New("is not supported")
	}
	return nil
}

// Unescape decodes %XX (RFC 3986, 2.1).
func Unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%q ends within %%XX", s)
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("%q: %%%s is no byte", s, s[i+1:i+3])
		}
		b.Write(c)
		i += 2
	}
	return b.String(), nil
}
