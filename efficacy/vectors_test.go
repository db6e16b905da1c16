package efficacy_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
)

const root = ".."

// With -update the expectations of vectors that differ are written anew. Read the
// difference before you commit it: it is what the verifier does, not what it
// should do.
var update = flag.Bool("update", false, "write the expectations of vectors anew")

// Every vector at its level is exactly what it says: verdict, all findings above
// low with severity and subject, all incidents.
func TestVectors(t *testing.T) {
	vectors, err := efficacy.Load(root)
	require.NoError(t, err)
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	for _, v := range vectors {
		t.Run(strings.TrimSuffix(v.File, ".txtar"), func(t *testing.T) {
			r, err := bench.Result(v, v.Level)
			if errors.Is(err, efficacy.ErrNotHere) {
				t.Skip(err)
			}
			require.NoError(t, err)
			clean, err := bench.Clean(v, v.Level)
			require.NoError(t, err)
			d := v.Differs(r, clean)
			if d != "" && *update && !strings.Contains(v.File, "@") {
				rewrite(t, v, r, clean)
				t.Log(d)
				return
			}
			require.Empty(t, d, "%s\nfound:\n%s", v.Name, expectation(v, r, clean))
			o, err := bench.Judge(v, v.Level)
			require.NoError(t, err)
			found := o.Class == efficacy.Detected || o.Class == efficacy.Otherwise
			switch {
			case v.Benign():
				require.NotEqual(t, efficacy.FalseAlarm, o.Class)
			case v.Gap != "":
				require.False(t, found, "the gap is closed: remove it")
			case v.Expect == assay.Inconclusive && clean.Verdict == assay.Pass:
				require.NotEqual(t, efficacy.Missed, o.Class, "what made the pass is gone, and the verdict names it")
			default:
				require.True(t, found, "%s at its own level: %s", o.Class, o.Why)
			}
		})
	}
}

// An image of the controller's firmware takes back the blind spot of those without.
func TestBlindToControllerFirmware(t *testing.T) {
	vectors, err := efficacy.Load(root)
	require.NoError(t, err)
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	i := slices.IndexFunc(vectors, func(v *efficacy.Vector) bool { return v.File == "c13-controller-hides-update.txtar" })
	for level, told := range map[efficacy.Level]bool{efficacy.L2: true, efficacy.L3: true, efficacy.L4: false} {
		r, err := bench.Clean(vectors[i], level)
		require.NoError(t, err)
		require.Equal(t, told, slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
			return f.Code == finding.BlindSpot && f.Subject == "blind spot:controller firmware"
		}), "%s", level)
	}
}

// expectation writes what a result is in the words of a vector.
func expectation(v *efficacy.Vector, r, clean *assay.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "expect: %s\n", r.Verdict)
	told, had := map[string]bool{}, map[string]bool{}
	for _, f := range clean.Findings {
		had[f.Fingerprint] = true
	}
	for _, f := range r.Findings {
		if had[f.Fingerprint] {
			continue
		}
		expected := strings.HasPrefix(string(f.Code), "CH-") || strings.HasPrefix(string(f.Code), "IN-") && f.Severity == finding.Low
		for _, e := range v.Findings {
			expected = expected || e.Code == f.Code && e.Severity == f.Severity && strings.HasPrefix(f.Subject, e.Subject)
		}
		line := fmt.Sprintf("finding: %s %s %s\n", f.Code, f.Severity, f.Subject)
		if head, _, ok := strings.Cut(f.Subject, "/"); ok && many(r, f) {
			line = fmt.Sprintf("finding: %s %s %s/\n", f.Code, f.Severity, head)
		}
		if (f.Severity > finding.Low || expected && f.Code != finding.KnownQuirk) && !told[line] {
			told[line] = true
			b.WriteString(line)
		}
	}
	for _, i := range r.Incidents {
		fmt.Fprintf(&b, "incident: %s\n", i.Code)
	}
	return b.String()
}

// many reports findings of one kind that are told apart by their names alone.
func many(r *assay.Result, f finding.Finding) bool {
	head, _, _ := strings.Cut(f.Subject, "/")
	n := 0
	for _, x := range r.Findings {
		if x.Code == f.Code && x.Severity == f.Severity && strings.HasPrefix(x.Subject, head+"/") {
			n++
		}
	}
	return n > 8
}

func rewrite(t *testing.T, v *efficacy.Vector, r, clean *assay.Result) {
	path := filepath.Join(root, "testdata", "vectors", v.File)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, _ := strings.Cut(string(raw), "\n-- ")
	var kept []string
	for _, l := range strings.Split(strings.TrimSpace(head), "\n") {
		key, _, _ := strings.Cut(l, ":")
		if key != "expect" && key != "finding" && key != "change" && key != "incident" {
			kept = append(kept, l)
		}
	}
	text := strings.Join(kept, "\n") + "\n" + expectation(v, r, clean) + "\n-- " + rest
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}
