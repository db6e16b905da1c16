package strictjson

import (
	"bytes"
	"encoding/json"
	"io"
)

// tokens are those of encoding/json, one after the other.
type tokens interface {
	Token() (json.Token, error)
	More() bool
	InputOffset() int64
}

// tokensOf reads a document. One that is well-formed is read here, since json.Decoder
// takes ten times as long; of one that is not, json.Decoder says what is wrong.
func tokensOf(b []byte) tokens {
	if json.Valid(b) {
		return &reader{b: b}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d
}

// reader gives the tokens of well-formed JSON.
type reader struct {
	b  []byte
	at int
}

// skip passes over what stands between tokens. In well-formed JSON commas and
// colons say nothing that brackets and order do not.
func (r *reader) skip() {
	for r.at < len(r.b) {
		switch r.b[r.at] {
		case ' ', '\t', '\r', '\n', ',', ':':
			r.at++
		default:
			return
		}
	}
}

func (r *reader) More() bool {
	r.skip()
	return r.at < len(r.b) && r.b[r.at] != ']' && r.b[r.at] != '}'
}

func (r *reader) InputOffset() int64 { return int64(r.at) }

func (r *reader) Token() (json.Token, error) {
	if r.skip(); r.at == len(r.b) {
		return nil, io.EOF
	}
	start := r.at
	switch c := r.b[start]; c {
	case '{', '}', '[', ']':
		r.at++
		return json.Delim(c), nil
	case '"':
		return r.text()
	case 't', 'n':
		r.at += len("true")
		if c == 'n' {
			return nil, nil
		}
		return true, nil
	case 'f':
		r.at += len("false")
		return false, nil
	}
	for r.at < len(r.b) && bytes.IndexByte([]byte("+-.0123456789eE"), r.b[r.at]) >= 0 {
		r.at++
	}
	return json.Number(r.b[start:r.at]), nil
}

func (r *reader) text() (json.Token, error) {
	start, plain := r.at, true
	for r.at++; r.b[r.at] != '"'; r.at++ {
		if r.b[r.at] == '\\' {
			plain = false
			r.at++
		}
	}
	r.at++
	if plain {
		return string(r.b[start+1 : r.at-1]), nil
	}
	var s string
	err := json.Unmarshal(r.b[start:r.at], &s)
	return s, err
}
