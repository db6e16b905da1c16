package attest

import "bytes"

// plainJSON walks JSON as collectors write it: objects of texts and of objects, each
// name once, and texts of printable ASCII without escapes. That is nearly all there
// is, and costs a tenth of encoding/json; what is not of this kind is left to it.
type plainJSON struct {
	rest []byte
	bad  bool
}

func (p *plainJSON) next() byte {
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
func (p *plainJSON) take(c byte) {
	if p.next() != c {
		p.bad = true
		return
	}
	p.rest = p.rest[1:]
}

func (p *plainJSON) text() string {
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

// object calls member at the value of each name.
func (p *plainJSON) object(member func(name string)) {
	p.take('{')
	if p.next() == '}' {
		p.take('}')
		return
	}
	for !p.bad {
		name := p.text()
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

// ended reports whether all was of this kind, and nothing is behind it.
func (p *plainJSON) ended() bool {
	return !p.bad && len(bytes.TrimSpace(p.rest)) == 0
}

// plainRegisters reads values by bank and register; ok is false when another reader
// has to say what they are, or what is wrong with them.
func plainRegisters(b []byte) (out RegisterValues, ok bool) {
	p := plainJSON{rest: b}
	out, seen := RegisterValues{}, 0
	p.object(func(bank string) {
		p.object(func(pcr string) {
			value := p.text()
			a, err := bankNamed(bank, value)
			p.bad = p.bad || err != nil || out.set(a, pcr, value) != nil
			seen++
		})
	})
	for _, bank := range out {
		seen -= len(bank)
	}
	return out, p.ended() && seen == 0 // no register twice
}

// plainTexts reads an object of texts alone.
func plainTexts(b []byte) (out map[string]string, ok bool) {
	p := plainJSON{rest: b}
	out, seen := map[string]string{}, 0
	p.object(func(name string) {
		out[name] = p.text()
		seen++
	})
	return out, p.ended() && seen == len(out)
}
