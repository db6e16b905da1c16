package strictjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type inner struct {
	Code string `json:"code"`
	Size int64  `json:"size,omitempty"`
}

type embedded struct {
	Kind string `json:"kind"`
}

type named string

type document struct {
	embedded
	ID    string            `json:"id"`
	N     int64             `json:"n"`
	On    bool              `json:"on"`
	List  []inner           `json:"list"`
	One   *inner            `json:"one"`
	Map   map[string]inner  `json:"map"`
	Texts map[string]string `json:"texts"`
	At    time.Time         `json:"at,omitzero"`
	Open  json.RawMessage   `json:"open,omitempty"`
	Bytes []byte            `json:"bytes,omitempty"`
	Small uint8             `json:"small,omitempty"`
	Deep  **[]inner         `json:"deep,omitempty"`
	Name  named             `json:"name,omitempty"`
	Named map[named][]int8  `json:"named,omitempty"`
	Any   any               `json:"any,omitempty"`
	Exact json.Number       `json:"exact,omitempty"`
	Shape [2]int            `json:"shape,omitzero"`
	Part  float32           `json:"part,omitempty"`
	Plain string
	skip  string
	Never string `json:"-"`
}

func TestDecodeKeepsWhatIsPlain(t *testing.T) {
	const text = `{"id":"a","n":-7,"on":true,"kind":"k","list":[{"code":"x","size":9007199254740993},{"code":"y"}],"one":{"code":"z"},
		"map":{"A":{"code":"1"},"a":{"code":"2"}},"texts":{"größe":""},"at":"2026-03-01T12:00:00Z","open":{"Any":[1,{"b":null}]},"Plain":"line\nline"}`
	var d document
	require.Error(t, Decode([]byte(text), &d), "keys of maps are ASCII too")
	require.NoError(t, Decode([]byte(strings.Replace(text, "größe", "size", 1)), &d))
	require.Equal(t, int64(9007199254740993), d.List[0].Size, "integers keep every digit")
	require.Equal(t, "2", d.Map["a"].Code, "map keys are data: case counts")
	require.Equal(t, "k", d.Kind)
	require.Equal(t, "line\nline", d.Plain)
	require.Empty(t, d.skip)
	require.NoError(t, Decode([]byte(`{"list":null,"map":null,"one":null,"open":null}`), &d))
}

// Each of these is read in two ways by some pair of readers.
func TestDecodeRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"duplicate key":                {`{"id":"a","id":"b"}`, `key "id" stands twice`},
		"duplicate by escape":          {`{"id":"a","\u0069d":"b"}`, `key "id" stands twice`},
		"duplicate deep inside":        {`{"list":[{"code":"a"},{"code":"b","code":"c"}]}`, `list[1]: key "code" stands twice`},
		"duplicate where all is open":  {`{"open":{"a":{"b":1,"b":2}}}`, `open.a: key "b" stands twice`},
		"duplicate in a map":           {`{"texts":{"a":"1","a":"2"}}`, `texts: key "a" stands twice`},
		"key by case":                  {`{"ID":"a"}`, `"id" is spelled "ID" here`},
		"both cases":                   {`{"id":"a","Id":"b"}`, `keys "id" and "Id" differ in case only`},
		"both cases where all is open": {`{"open":{"x":1,"X":2}}`, `differ in case only`},
		"Kelvin sign":                  {"{\"\u212aind\":\"a\"}", "is not printable ASCII"},
		"long s":                       {"{\"li\u017ft\":[]}", "is not printable ASCII"},
		"escaped Kelvin sign":          {`{"\u212aind":"a"}`, "is not printable ASCII"},
		"unknown key":                  {`{"extra":1}`, `unknown key "extra"`},
		"field without a key":          {`{"skip":"x"}`, "unknown key"},
		"field that is never read":     {`{"Never":"x"}`, "unknown key"},
		"float":                        {`{"n":1.0}`, "number 1.0 is not an integer"},
		"exponent":                     {`{"n":1e0}`, "not an integer"},
		"minus zero":                   {`{"n":-0}`, "not an integer"},
		"float where all is open":      {`{"open":[1.5]}`, "not an integer"},
		"leading zero":                 {`{"n":01}`, "invalid character"},
		"too large":                    {`{"n":9223372036854775808}`, "cannot unmarshal"},
		"text for a number":            {`{"n":"1"}`, "cannot unmarshal"},
		"null for a text":              {`{"id":null}`, "id: is null"},
		"null for a number":            {`{"n":null}`, "n: is null"},
		"null for a time":              {`{"at":null}`, "at: is null"},
		"null in a list":               {`{"list":[null]}`, "list[0]: is null"},
		"null for everything":          {`null`, "is null"},
		"normal form D":                {"{\"id\":\"u\u0308\"}", "not in Unicode normal form C"},
		"escaped normal form D":        {`{"id":"u\u0308"}`, "not in Unicode normal form C"},
		"NUL":                          {`{"id":"a\u0000"}`, "holds a control character"},
		"escape sequence":              {`{"id":"\u001b[2J"}`, "holds a control character"},
		"C1 control":                   {`{"id":"\u009b2J"}`, "holds a control character"},
		"lone high surrogate":          {`{"id":"\ud800"}`, "lone surrogate"},
		"lone low surrogate":           {`{"id":"\udc00x"}`, "lone surrogate"},
		"surrogates in wrong order":    {`{"id":"\udc00\ud800"}`, "lone surrogate"},
		"high surrogate and a letter":  {`{"id":"\ud800\u0041"}`, "lone surrogate"},
		"invalid UTF-8":                {"{\"id\":\"\xff\"}", "invalid UTF-8"},
		"overlong UTF-8":               {"{\"id\":\"\xc0\xaf\"}", "invalid UTF-8"},
		"trailing document":            {`{"id":"a"}{"id":"b"}`, "trailing data"},
		"trailing text":                {`{"id":"a"}x`, "trailing data"},
		"byte order mark":              {"\ufeff{}", "invalid character"},
		"cut off":                      {`{"id":"a"`, "unexpected EOF"},
		"empty":                        {``, "unexpected EOF"},
		"trailing comma":               {`{"id":"a",}`, "invalid character"},
		"comment":                      {`{/**/"id":"a"}`, "invalid character"},
		"single quotes":                {`{'id':'a'}`, "invalid character"},
		"too deep":                     {`{"open":` + strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1) + `}`, "nested deeper"},
		"far too deep":                 {strings.Repeat("[", 1<<20), "nested deeper"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var d document
			err := Decode([]byte(tt.text), &d)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, document{}, d, "nothing of a refused document is kept")
		})
	}
}

func TestSurrogatePairsAreText(t *testing.T) {
	var d document
	require.NoError(t, Decode([]byte(`{"id":"\ud83d\ude00\\ud800"}`), &d))
	require.Equal(t, "\U0001f600\\ud800", d.ID)
}

func TestAllowUnknown(t *testing.T) {
	var d document
	require.NoError(t, Decode([]byte(`{"id":"a","later":{"x":[1,2]}}`), &d, AllowUnknown))
	require.Equal(t, "a", d.ID)
	for _, text := range []string{`{"Id":"a"}`, `{"later":1,"Later":2}`, `{"later":{"a":1,"a":2}}`, `{"later":1.5}`} {
		require.Error(t, Decode([]byte(text), &d, AllowUnknown), text)
	}
}

func TestErrorSaysWhere(t *testing.T) {
	var d document
	err := Decode([]byte(`{"list":[{"code":"a"},{"size":1.5}]}`), &d)
	require.ErrorContains(t, err, "list[1].size")
	require.Equal(t, int64(33), Offset(err))
	require.Equal(t, int64(7), Offset(Decode([]byte("{\"id\":\"\xff\"}"), &d)))
	require.Zero(t, Offset(fmt.Errorf("another error")))
}

// Many keys must not cost their square.
func TestManyKeys(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"open":{`)
	for i := range 200_000 {
		fmt.Fprintf(&b, `"k%d":0,`, i)
	}
	b.WriteString(`"K5":0}}`)
	var d document
	require.ErrorContains(t, Decode([]byte(b.String()), &d), `keys "k5" and "K5" differ in case only`)
}

func TestEncodedDocumentsAreAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~äöü]{0,10}`)
		want := document{ID: text.Draw(t, "id"), N: rapid.Int64().Draw(t, "n"), Map: map[string]inner{rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "key"): {Code: text.Draw(t, "code")}}}
		b, err := json.Marshal(want)
		require.NoError(t, err)
		var got document
		require.NoError(t, Decode(b, &got))
		require.Equal(t, want.ID, got.ID)
		require.Equal(t, want.Map, got.Map)
	})
}

// What this package accepts, encoding/json reads the same way in its strictest
// setting, and writing it again gives a document that is accepted.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"a","n":1,"list":[{"code":"x"}],"map":{"a":{"code":"b"}},"open":{"a":[1]}}`))
	f.Add([]byte(`{"id":"\ud83d\ude00"}`))
	f.Add([]byte(`{"id":"a","ID":"b"}`))
	f.Add([]byte(`{"kind":"k","bytes":"AAEC","small":255,"deep":[{"code":"x","size":-1}],"name":"n","named":{"a":[-128,127]},"any":{"a":[1]},"exact":12,"shape":[1,2],"part":3}`))
	f.Add([]byte(`{"small":256}`))
	f.Add([]byte(`{"id":1,"n":"x"}`))
	f.Add([]byte(`{"bytes":"?","deep":null,"map":{"a":null},"list":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d document
		if err := Decode(b, &d); err != nil {
			require.Equal(t, document{}, d)
			again := document{Plain: "there already"} // which is then encoding/json's to read
			require.Error(t, Decode(b, &again), "%s", err)
			return
		}
		dec := json.NewDecoder(strings.NewReader(string(b)))
		dec.DisallowUnknownFields()
		var plain document
		require.NoError(t, dec.Decode(&plain))
		require.Equal(t, plain, d)
		again, err := json.Marshal(d)
		require.NoError(t, err)
		require.NoError(t, Decode(again, &document{}))
	})
}
