package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy"
)

// The command gives the verdict that package assay gives of the same files, with the
// same findings and incidents, for vectors at their level. ASSAY_VECTORS=all takes all
// of them and not one in six, which is some minutes more.
func TestVectorsByCommand(t *testing.T) {
	vectors, err := efficacy.Load(filepath.Join("..", ".."))
	require.NoError(t, err)
	bench, err := efficacy.NewBench(filepath.Join("..", ".."))
	require.NoError(t, err)
	for i, v := range vectors {
		if os.Getenv("ASSAY_VECTORS") != "all" && i%6 != 0 {
			continue
		}
		t.Run(strings.TrimSuffix(v.File, ".txtar"), func(t *testing.T) {
			want, err := bench.Result(v, v.Level)
			if errors.Is(err, efficacy.ErrNotHere) {
				t.Skip(err)
			}
			require.NoError(t, err)
			dir := t.TempDir()
			args, err := bench.Export(v, v.Level, dir, false)
			require.NoError(t, err)
			var out, told bytes.Buffer
			env := newEnvironment()
			env.stdout, env.stderr = &out, &told
			run(append([]string{"verify", "--format", "json"}, args...), env)
			got := &assay.Result{}
			require.NoError(t, json.Unmarshal(out.Bytes(), got), told.String())
			require.Equal(t, want.Verdict, got.Verdict)
			require.Equal(t, linesOf(want), linesOf(got))
			require.NoError(t, os.RemoveAll(dir))
		})
	}
}

// linesOf are what a verdict tells.
func linesOf(r *assay.Result) []string {
	out := []string{}
	for _, f := range r.Findings {
		out = append(out, f.Fingerprint+" "+string(f.Code)+" "+f.Severity.String()+" "+f.Subject)
	}
	for _, i := range r.Incidents {
		out = append(out, string(i.Code)+" "+i.Severity.String())
	}
	return out
}
