package assay_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/report"
)

// Results of every recorded machine keep the published schema.
func TestResultsFollowTheSchema(t *testing.T) {
	raw, err := os.ReadFile("docs/formats/result.schema.json")
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("result.schema.json", doc))
	schema, err := c.Compile("result.schema.json")
	require.NoError(t, err)
	l := newLab(t, machine(t, "baseline"))
	for _, e := range expectations {
		var b bytes.Buffer
		require.NoError(t, report.JSON(&b, l.verify(t, machine(t, e.set))))
		v, err := jsonschema.UnmarshalJSON(&b)
		require.NoError(t, err)
		require.NoError(t, schema.Validate(v), e.set)
	}
}
