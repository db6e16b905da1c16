package lines_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
)

var ocsfClasses = map[float64]string{2003: "compliance_finding", 2004: "detection_finding"}

func events(t *testing.T, r *assay.Result) (out []map[string]any) {
	t.Helper()
	for l := range strings.Lines(text(t, "result.ocsf.jsonl", r)) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(l), &e))
		out = append(out, e)
	}
	return out
}

func everyResult() []*assay.Result {
	out := []*assay.Result{result(""), result(evil), {Verdict: assay.Inconclusive}}
	for _, v := range []assay.Verdict{assay.Pass, assay.Review, assay.Inconclusive} {
		r := result("")
		r.Verdict, r.Findings = v, nil
		out = append(out, r)
	}
	return out
}

// The schema as OCSF's server compiles it, of the last version that a registry has.
func TestEventsFollowTheCompiledSchema(t *testing.T) {
	all := append(everyResult(), judged(t, "../..", 120)...)
	for _, class := range ocsfClasses {
		raw, err := os.ReadFile(filepath.Join("testdata", "ocsf-1.2.0-"+class+".json"))
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		require.NoError(t, err)
		root, ok := doc.(map[string]any)
		require.True(t, ok)
		// It was compiled with every profile; what belongs to those that events do
		// not name is not asked for.
		root["required"] = slices.DeleteFunc(root["required"].([]any), func(n any) bool { return n == "cloud" || n == "action_id" })
		c := jsonschema.NewCompiler()
		require.NoError(t, c.AddResource(class, root))
		schema, err := c.Compile(class)
		require.NoError(t, err)
		seen := 0
		for _, r := range all {
			for _, e := range events(t, r) {
				if ocsfClasses[e["class_uid"].(float64)] != class {
					continue
				}
				seen++
				b, err := json.Marshal(e)
				require.NoError(t, err)
				v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
				require.NoError(t, err)
				require.NoError(t, schema.Validate(v))
				known(t, root, root, e, class)
			}
		}
		require.Positive(t, seen)
		require.Error(t, schema.Validate(map[string]any{"class_uid": 2003, "time": "now"}), "the schema refuses what it should")
	}
}

// known fails for an attribute that the schema does not have.
func known(t *testing.T, root, schema map[string]any, v any, at string) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	switch v := v.(type) {
	case map[string]any:
		props, ok := schema["properties"].(map[string]any)
		if !ok || len(props) == 0 {
			return // the object may hold anything
		}
		for k, x := range v {
			require.Contains(t, props, k, at)
			known(t, root, props[k].(map[string]any), x, at+"."+k)
		}
	case []any:
		for _, x := range v {
			known(t, root, schema["items"].(map[string]any), x, at)
		}
	}
}

// The sources of the schema, in every release from the one that events name on.
func TestEventsFollowTheReleases(t *testing.T) {
	dir := os.Getenv("OCSF_SCHEMA")
	if dir == "" {
		t.Skip("needs a clone of github.com/ocsf/ocsf-schema in OCSF_SCHEMA")
	}
	for _, tag := range []string{"1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0", "1.8.0"} {
		s := &ocsfSource{dir: dir, tag: tag, files: map[string]map[string]any{}}
		n := 0
		for _, r := range everyResult() {
			for _, e := range events(t, r) {
				n += s.check(t, s.class(t, ocsfClasses[e["class_uid"].(float64)]), e, tag)
			}
		}
		t.Logf("OCSF %s: %d attributes held against their definitions", tag, n)
	}
}

type ocsfSource struct {
	dir, tag string
	files    map[string]map[string]any
}

func (s *ocsfSource) read(t *testing.T, path string) map[string]any {
	t.Helper()
	if d, ok := s.files[path]; ok {
		return d
	}
	raw, err := exec.Command("git", "-C", s.dir, "show", s.tag+":"+path).Output()
	require.NoError(t, err, path)
	var d map[string]any
	require.NoError(t, json.Unmarshal(raw, &d))
	s.files[path] = d
	return d
}

// attributes gathers those of a class or object, of what it includes and of what it
// extends.
func (s *ocsfSource) attributes(t *testing.T, d map[string]any, place func(name string) string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if base, ok := d["extends"].(string); ok {
		maps.Copy(out, s.attributes(t, s.read(t, place(base)), place))
	}
	own, _ := d["attributes"].(map[string]any)
	includes, _ := own["$include"].([]any)
	for _, p := range includes {
		for k, v := range s.read(t, p.(string))["attributes"].(map[string]any) {
			out[k] = map[string]any{"requirement": "optional", "type": v.(map[string]any)["type"]} // asked for only with its profile
		}
	}
	for k, v := range own {
		a, ok := v.(map[string]any)
		if !ok {
			continue
		}
		merged := map[string]any{}
		if old, ok := out[k].(map[string]any); ok {
			maps.Copy(merged, old)
		}
		maps.Copy(merged, a)
		out[k] = merged
	}
	return out
}

func (s *ocsfSource) class(t *testing.T, name string) map[string]any {
	place := func(n string) string {
		if n == "base_event" {
			return "events/base_event.json"
		}
		return "events/findings/" + n + ".json"
	}
	return s.attributes(t, s.read(t, place(name)), place)
}

// check holds one object against its definition, and returns how many attributes it
// looked at.
func (s *ocsfSource) check(t *testing.T, want map[string]any, got map[string]any, at string) int {
	t.Helper()
	for k, a := range want {
		if p := a.(map[string]any); p["requirement"] == "required" && p["profile"] == nil {
			require.Contains(t, got, k, "%s asks for %s", at, k)
		}
	}
	n := 0
	words := s.read(t, "dictionary.json")["attributes"].(map[string]any)
	for k, v := range got {
		require.Contains(t, want, k, at)
		word, ok := words[k].(map[string]any)
		require.True(t, ok, "%s.%s is not in the dictionary", at, k)
		own := want[k].(map[string]any)
		for _, d := range []map[string]any{own, word} {
			require.NotContains(t, d, "@deprecated", "%s.%s", at, k)
		}
		values, _ := own["enum"].(map[string]any)
		common, _ := word["enum"].(map[string]any)
		if len(values)+len(common) > 0 {
			id := fmt.Sprint(v)
			require.True(t, values[id] != nil || common[id] != nil || k == "class_uid" || k == "category_uid" || k == "type_uid", "%s.%s: %v", at, k, v)
		}
		_, list := v.([]any)
		require.Equal(t, word["is_array"] == true || own["is_array"] == true, list, "%s.%s", at, k)
		n += 1 + s.inside(t, word, v, at+"."+k)
	}
	return n
}

func (s *ocsfSource) inside(t *testing.T, word map[string]any, v any, at string) (n int) {
	t.Helper()
	place := func(name string) string { return "objects/" + name + ".json" }
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			n += s.inside(t, word, x, at)
		}
	case map[string]any:
		kind := word["type"].(string)
		if kind == "object" || kind == "json_t" {
			return 0
		}
		return s.check(t, s.attributes(t, s.read(t, place(kind)), place), v, at)
	case string:
		require.NotContains(t, []any{"integer_t", "long_t", "timestamp_t", "boolean_t"}, word["type"], at)
	case float64:
		require.Contains(t, []any{"integer_t", "long_t", "timestamp_t"}, word["type"], at)
	}
	return n
}

// Findings of one kind on two machines are two findings; the same one seen twice on
// one machine is one.
func TestFindingsAreOnesOfTheirMachine(t *testing.T) {
	id := func(r *assay.Result) any { return events(t, r)[1]["finding_info"].(map[string]any)["uid"] }
	other, later := result(""), result("")
	other.Platform.Serial = "S-2"
	later.Evidence.SHA256, later.At = "ff", later.At.AddDate(0, 0, 1)
	require.NotEqual(t, id(result("")), id(other))
	require.Equal(t, id(result("")), id(later))
}

// judged are verdicts of the efficacy bench: attacks and harmless changes, at every
// level of evidence.
func judged(t testing.TB, root string, every int) (out []*assay.Result) {
	t.Helper()
	b, err := efficacy.NewBench(root)
	require.NoError(t, err)
	vectors, err := efficacy.Load(root)
	require.NoError(t, err)
	for i := 0; i < len(vectors); i += every {
		for _, l := range efficacy.Levels() {
			r, err := b.Result(vectors[i], l)
			if errors.Is(err, efficacy.ErrNotHere) {
				continue
			}
			require.NoError(t, err)
			out = append(out, r)
		}
	}
	require.NotEmpty(t, out)
	return out
}

// Of real verdicts every finding is a record, and collectors take the metrics.
func TestVerdictsInEveryFormat(t *testing.T) {
	for _, r := range judged(t, "../..", 120) {
		require.Len(t, records["result.cef"](t, text(t, "result.cef", r)), 1+len(r.Findings))
		require.Len(t, records["result.ocsf.jsonl"](t, text(t, "result.ocsf.jsonl", r)), 1+len(r.Findings))
		require.Len(t, records["result.github"](t, text(t, "result.github", r)), 1+len(r.Findings)-count(r, finding.Info))
		require.Contains(t, records["result.prom"](t, text(t, "result.prom", r)), fmt.Sprintf("assay_verdict verdict=%s 1", r.Verdict))
	}
}

func count(r *assay.Result, s finding.Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}
