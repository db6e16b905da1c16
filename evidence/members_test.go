package evidence

import (
	"encoding/json"
	"testing"

	"github.com/gowebpki/jcs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The head is what a whole reader of JSON makes of an index without its list.
func TestCanonicalHeadIsWhatJSONSays(t *testing.T) {
	for _, raw := range []string{`{}`, ` { } `, `{"a":1}`, `{"artifacts":[{"x":"]}"}],"b":{"c":[1,{"d":"\""}]},"e\\":"\\","f":"{,:\"}"}` + "\n", `{"artifacts":[]}`, `{"z":[],"a":[[],{}] , "m" : null}`, `{"\u0061rtifacts":[1],"a":2}`} {
		checkHead(t, raw)
	}
	rapid.Check(t, func(t *rapid.T) {
		doc := map[string]any{}
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			doc[rapid.SampledFrom([]string{"artifacts", "a", `q"`, `b\`, "{", "ü", "]"}).Draw(t, "key")] = rapid.SampledFrom([]any{
				1, "x", `"`, `\`, `}],"artifacts":[`, []any{}, map[string]any{"artifacts": 1, "k": []any{"}", map[string]any{}}}, nil, true,
			}).Draw(t, "value")
		}
		raw, err := json.MarshalIndent(doc, "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		require.NoError(t, err)
		checkHead(t, string(raw))
	})
}

func checkHead(t require.TestingT, raw string) {
	var doc map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(raw), &doc))
	delete(doc, "artifacts")
	plain, err := json.Marshal(doc)
	require.NoError(t, err)
	want, err := jcs.Transform(plain)
	require.NoError(t, err)
	got, err := canonicalHead([]byte(raw))
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), raw)
}
