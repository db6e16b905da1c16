package xmltree

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// characters refuses characters that a document may not hold (XML 1.0, 2.2).
func (p *parser) characters(b []byte) error {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if !isCharacter(r) {
			return p.bad("character U+%04X", r)
		}
		i += n
	}
	return nil
}

func isCharacter(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// nameStart are the characters that a name may begin with (XML 1.0, 2.3).
var nameStart = [][2]rune{
	{':', ':'},
	{'A', 'Z'},
	{'_', '_'},
	{'a', 'z'},
	{0xC0, 0xD6},
	{0xD8, 0xF6},
	{0xF8, 0x2FF},
	{0x370, 0x37D},
	{0x37F, 0x1FFF},
	{0x200C, 0x200D},
	{0x2070, 0x218F},
	{0x2C00, 0x2FEF},
	{0x3001, 0xD7FF},
	{0xF900, 0xFDCF},
	{0xFDF0, 0xFFFD},
	{0x10000, 0xEFFFF},
}

var nameRest = [][2]rune{{'-', '-'}, {'.', '.'}, {'0', '9'}, {0xB7, 0xB7}, {0x300, 0x36F}, {0x203F, 0x2040}}

func within(r rune, ranges [][2]rune) bool {
	for _, x := range ranges {
		if r >= x[0] && r <= x[1] {
			return true
		}
	}
	return false
}

func (p *parser) name() (string, error) {
	from := p.at
	for p.at < len(p.b) {
		r, n := utf8.DecodeRune(p.b[p.at:])
		if !within(r, nameStart) && (p.at == from || !within(r, nameRest)) {
			break
		}
		p.at += n
		if p.at-from > maxName {
			return "", p.over("bytes of a name", maxName)
		}
	}
	if p.at == from {
		return "", p.bad("no name")
	}
	return string(p.b[from:p.at]), nil
}

// split takes a qualified name apart.
func (p *parser) split(name string) (prefix, local string, err error) {
	prefix, local, found := strings.Cut(name, ":")
	if !found {
		return "", name, nil
	}
	first, _ := utf8.DecodeRuneInString(local)
	if prefix == "" || local == "" || strings.Contains(local, ":") || !within(first, nameStart) {
		return "", "", p.bad("%.80q is no qualified name", name)
	}
	return prefix, local, nil
}

// assigned reads = and a quoted value, normalised as an attribute without a
// declared type (XML 1.0, 3.3.3).
func (p *parser) assigned() (string, error) {
	p.space()
	if !p.skip("=") {
		return "", p.bad("an attribute has no value")
	}
	p.space()
	if p.at >= len(p.b) || p.b[p.at] != '"' && p.b[p.at] != '\'' {
		return "", p.bad("an attribute's value has no quotes")
	}
	quote := p.b[p.at]
	p.at++
	var out strings.Builder
	for p.at < len(p.b) {
		switch c := p.b[p.at]; {
		case c == quote:
			p.at++
			return out.String(), nil
		case c == '<':
			return "", p.bad("< in an attribute")
		case c == '&':
			r, err := p.reference()
			if err != nil {
				return "", err
			}
			out.WriteRune(r)
		default:
			end := bytes.IndexAny(p.b[p.at:], "<&"+string(rune(quote)))
			if end < 0 {
				end = len(p.b) - p.at
			}
			run := p.b[p.at : p.at+end]
			if err := p.characters(run); err != nil {
				return "", err
			}
			out.WriteString(strings.Map(blankToSpace, lineEnds(string(run))))
			p.at += end
		}
		if out.Len() > p.limits.Value {
			return "", p.over("bytes of an attribute", p.limits.Value)
		}
	}
	return "", p.bad("an attribute's value does not end")
}

func blankToSpace(r rune) rune {
	if r == '\t' || r == '\n' {
		return ' '
	}
	return r
}

var entities = map[string]rune{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\''}

// reference reads a reference to a character or to one of the five entities
// that need no declaration.
func (p *parser) reference() (rune, error) {
	head := p.b[p.at:min(len(p.b), p.at+maxReference)]
	end := bytes.IndexByte(head, ';')
	if end < 0 {
		return 0, p.bad("reference without an end")
	}
	ref := string(head[1:end])
	r, known := entities[ref]
	if digits, ok := strings.CutPrefix(ref, "#"); ok {
		base := 10
		if h, ok := strings.CutPrefix(digits, "x"); ok {
			digits, base = h, 16
		}
		v, err := strconv.ParseUint(digits, base, 32)
		if err != nil || !isCharacter(rune(v)) {
			return 0, p.bad("reference to character %q", digits)
		}
		r, known = rune(v), true
	}
	if !known {
		return 0, p.bad("reference to entity %q, which nothing declares", ref)
	}
	p.at += end + 1
	return r, nil
}
