package strictjson

import "bytes"

// Plain walks JSON as collectors write it: objects of texts and of objects, each
// name once, and texts of printable ASCII without escapes. That is nearly all there
// is, and costs a tenth of encoding/json; what is not of this kind is left to it.
type Plain struct {
	rest []byte
	bad  bool
}

// NewPlain reads a document from its start.
func NewPlain(b []byte) *Plain { return &Plain{rest: b} }

// Refuse leaves the document to another reader.
func (p *Plain) Refuse() { p.bad = true }

func (p *Plain) next() byte {
	for len(p.rest) > 0 && (p.rest[0] == ' ' || p.rest[0] == '\n' || p.rest[0] == '\t' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
	if len(p.rest) == 0 {
		p.bad = true
		return 0
	}
	return p.rest[0]
}

// take steps over one character, which must be there.
func (p *Plain) take(c byte) {
	if p.next() != c {
		p.bad = true
		return
	}
	p.rest = p.rest[1:]
}

// Text reads a text.
func (p *Plain) Text() string {
	p.take('"')
	i := bytes.IndexByte(p.rest, '"')
	if p.bad || i < 0 {
		p.bad = true
		return ""
	}
	s := p.rest[:i]
	for _, c := range s {
		p.bad = p.bad || c < ' ' || c >= 0x7f || c == '\\'
	}
	p.rest = p.rest[i+1:]
	return string(s)
}

// Object calls member at the value of each name.
func (p *Plain) Object(member func(name string)) {
	p.take('{')
	if p.next() == '}' {
		p.take('}')
		return
	}
	for !p.bad {
		name := p.Text()
		p.take(':')
		if p.bad {
			return
		}
		if member(name); p.next() == '}' {
			p.take('}')
			return
		}
		p.take(',')
	}
}

// Ended reports whether all was of this kind, and nothing is behind it.
func (p *Plain) Ended() bool {
	return !p.bad && len(bytes.TrimSpace(p.rest)) == 0
}

// Texts reads an object of texts alone, as Plain does; ok is false for all else.
func Texts(b []byte) (out map[string]string, ok bool) {
	p := NewPlain(b)
	out, seen := map[string]string{}, 0
	p.Object(func(name string) {
		out[name] = p.Text()
		seen++
	})
	return out, p.Ended() && seen == len(out)
}
