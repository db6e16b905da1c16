package strictjson

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Well-formed documents have the tokens that json.Decoder sees, at the same places
// once a token was read.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,true,false,null,"x\n\u00e9\"\\"],"":{}}`, ` [ ] `, `"\ud83d\ude00"`, `0`, `[{"a":{}},[[]]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !json.Valid(b) || !utf8.Valid(b) { // which Decode refuses before
			return
		}
		want := json.NewDecoder(bytes.NewReader(b))
		want.UseNumber()
		got := tokensOf(b)
		for {
			w, errW := want.Token()
			g, errG := got.Token()
			require.Equal(t, errW, errG)
			if errW != nil {
				return
			}
			require.Equal(t, w, g)
			require.Equal(t, want.InputOffset(), got.InputOffset())
			require.Equal(t, want.More(), got.More())
		}
	})
}
