package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const printed = `goos: linux
BenchmarkX/key=a/by=assay-2   	   10	     300 ns/op	  5 B/op
BenchmarkX/key=a/by=floor-2   	   10	     100 ns/op
BenchmarkX/key=a/by=assay-2   	   10	     120.0 ns/op
BenchmarkX/key=a/by=floor-2   	   10	     100 ns/op
BenchmarkX/key=a/by=assay-2   	   10	     140 ns/op
BenchmarkX/key=a/by=floor-2   	   10	     100 ns/op
`

func TestRatios(t *testing.T) {
	for name, x := range map[string]struct {
		line, shown string
		fails       bool
	}{
		"as it was":    {"BenchmarkX/key=a\tassay\tfloor\t1.5\t1.1", "1.2  1.4     1.5  1.1", false},
		"misses":       {"BenchmarkX/key=a\tassay\tfloor\t1.3\t1.1", "misses its aim", false},
		"slower":       {"BenchmarkX/key=a\tassay\tfloor\t1.3\t0.7", "slower by a third", true},
		"was not run":  {"BenchmarkX/key=b\tassay\tfloor\t-\t-", "not run", false},
		"other way up": {"BenchmarkX/key=a\tfloor\tassay\t-\t-", "0.333", false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "targets.tsv")
			require.NoError(t, os.WriteFile(file, []byte("# a comment\n"+x.line+"\n"), 0o600))
			var out strings.Builder
			err := run(strings.NewReader(printed), &out, file, true)
			require.Equal(t, x.fails, err != nil, "%v", err)
			require.Contains(t, out.String(), x.shown)
		})
	}
}
