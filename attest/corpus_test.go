package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

const corpusDir = "../../shared/corpus/eventlogs"

func needCorpus(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(corpusDir); err != nil {
		t.Skip("needs ../shared/corpus/eventlogs")
	}
}

// corpusLogs lists every event log of the corpus, by path below it.
func corpusLogs(t testing.TB) map[string][]byte {
	t.Helper()
	needCorpus(t)
	out := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(corpusDir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(corpusDir, p)
		top, _, _ := strings.Cut(rel, string(filepath.Separator))
		name := filepath.Base(rel)
		switch {
		case top == "ekcerts" || top == "expected" || top == "attestation-dumps" || top == "ima" || top == "INDEX.md":
			return nil
		case strings.Contains(rel, "/evidence/") && !strings.HasPrefix(name, "eventlog"):
			return nil
		case slices.Contains([]string{".json", ".gz", ".md", ".pb", ".zst", ".xz"}, filepath.Ext(name)):
			return nil
		}
		b, err := os.ReadFile(p)
		out[rel] = b
		return err
	}))
	return out
}

// Every public log is read, or refused with a reason that a caller can name.
func TestCorpusLogsParseOrAreRefusedByName(t *testing.T) {
	logs := corpusLogs(t)
	require.Greater(t, len(logs), 100)
	refused := map[string]error{}
	for name, b := range logs {
		l, err := tcglog.Parse(b, tcglog.DefaultLimits())
		require.NotNil(t, l, name)
		if err != nil {
			named := errors.Is(err, tcglog.ErrTruncated) || errors.Is(err, tcglog.ErrMalformed) || errors.Is(err, tcglog.ErrLimit)
			require.True(t, named, "%s: %v", name, err)
			refused[name] = err
		}
	}
	t.Logf("%d logs, %d refused", len(logs), len(refused))
	for _, n := range sortedKeys(refused) {
		t.Logf("refused %s: %v", n, refused[n])
	}
	require.LessOrEqual(t, len(refused), 1, "only the TXT heap dump, which is no event log, is refused")
}

// S4: an honest log never contradicts itself where its digest is defined over
// its data.
func TestHonestLogsAreCredible(t *testing.T) {
	for name, b := range corpusLogs(t) {
		l, _ := tcglog.Parse(b, tcglog.DefaultLimits())
		for i := range l.Events {
			require.NotEqual(t, contradicted, credibility(&l.Events[i]), "%s: event %d", name, l.Events[i].Number)
		}
	}
}

// S1, S2: what the profile demands of a whole log is not asked in a way that
// honest logs fail. The exceptions are what their owners know about them.
func TestHonestLogsKeepTheStructure(t *testing.T) {
	odd := map[string][]string{}
	for name, b := range corpusLogs(t) {
		l, err := tcglog.Parse(b, tcglog.DefaultLimits())
		if err != nil || strings.Contains(strings.ToLower(name), "ccel") || strings.Contains(name, "tdx") {
			continue
		}
		o := &Observation{bundle: emptyBundle(t), events: &Log{log: l}}
		for _, f := range o.structureFindings() {
			require.NotEqual(t, finding.Critical, f.Severity, "%s: %s %s %s", name, f.Code, f.Subject, f.Got)
			if f.Severity > finding.Low {
				odd[name] = append(odd[name], fmt.Sprintf("%s %s want %q got %q", f.Code, f.Subject, f.Want, f.Got))
			}
		}
	}
	for _, n := range sortedKeys(odd) {
		t.Logf("%s: %s", n, strings.Join(odd[n], "; "))
	}
}

// The values that Google's own tests demand of their logs.
func TestGoogleLogsReplay(t *testing.T) {
	needCorpus(t)
	b, err := os.ReadFile(filepath.Join(corpusDir, "expected/google_go-eventlog_pcrs.json"))
	require.NoError(t, err)
	var want map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(b, &want))
	logs := corpusLogs(t)
	found, checked := 0, 0
	for file := range want {
		v, err := ParseRegisterValues(b, file)
		require.NoError(t, err)
		name := ""
		for n := range logs {
			if strings.HasPrefix(n, "google+") && strings.HasSuffix(n, file) && !strings.Contains(n, "ccel") {
				name = n
			}
		}
		if name == "" {
			continue // not in this copy of the corpus
		}
		found++
		l, err := ParseLog(logs[name])
		require.NoError(t, err)
		for _, r := range l.Replay(v) {
			if r.Value == "" {
				continue
			}
			require.Equal(t, Explained, r.Result, "%s %s PCR %d: %s", file, r.Bank, r.PCR, r.Cause)
			require.Empty(t, r.Cause, "%s %s PCR %d", file, r.Bank, r.PCR)
			checked++
		}
	}
	t.Logf("%d logs of %d, %d registers", found, len(want), checked)
	require.Greater(t, checked, 100)
}

// The values that tpm2_eventlog prints for its own fixtures.
func TestTPM2ToolsLogsReplay(t *testing.T) {
	logs := corpusLogs(t)
	files, err := filepath.Glob(filepath.Join(corpusDir, "expected/tpm2-tools-yaml/*.yaml"))
	require.NoError(t, err)
	checked := 0
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		v, err := ParseRegisterValues(raw, "")
		b := logs["tpm2-software+tpm2-tools/test__integration__fixtures__"+strings.TrimSuffix(filepath.Base(f), ".yaml")]
		if err != nil || b == nil {
			t.Logf("%s: %v", filepath.Base(f), err)
			continue
		}
		l, err := ParseLog(b)
		require.NoError(t, err, f)
		for _, r := range l.Replay(v) {
			if r.Value != "" {
				require.Equal(t, Explained, r.Result, "%s: %s PCR %d: %s", filepath.Base(f), r.Bank, r.PCR, r.Cause)
				checked++
			}
		}
	}
	t.Logf("%d registers", checked)
	require.Greater(t, checked, 10)
}

// machineEvidence lists the directories that have a log and register values.
func machineEvidence(t *testing.T) []string {
	needCorpus(t)
	var out []string
	for _, pat := range []string{"immune-gmbh+guard-oss/evidence/*", "own-qemu-ovmf/*"} {
		dirs, err := filepath.Glob(filepath.Join(corpusDir, pat))
		require.NoError(t, err)
		for _, d := range dirs {
			logs, _ := filepath.Glob(filepath.Join(d, "eventlog*.bin"))
			if _, err := os.Stat(filepath.Join(d, "pcrs.json")); err == nil && len(logs) > 0 {
				out = append(out, d)
			}
		}
	}
	return out
}

// Every register of a real machine that does not replay has a named cause;
// what is known about the machines must come out.
func TestMachinesReplayOrNameTheCause(t *testing.T) {
	causes := map[string][]string{}
	whole, total := 0, 0
	for _, d := range machineEvidence(t) {
		raw, err := os.ReadFile(filepath.Join(d, "pcrs.json"))
		require.NoError(t, err)
		v, err := ParseRegisterValues(raw, "")
		if err != nil || len(v) == 0 {
			t.Logf("%s: no values: %v", filepath.Base(d), err)
			continue
		}
		logs, _ := filepath.Glob(filepath.Join(d, "eventlog*.bin"))
		b, err := os.ReadFile(logs[len(logs)-1])
		require.NoError(t, err)
		l, err := ParseLog(b)
		require.NoError(t, err, d)
		total++
		name, odd := filepath.Base(d), 0
		for _, r := range l.Replay(v) {
			if r.Value == "" || r.PCR >= 16 || r.PCR == 10 || r.Result == Explained && r.Cause == "" {
				continue
			}
			require.NotEmpty(t, r.Cause, "%s %s PCR %d", name, r.Bank, r.PCR)
			causes[name] = append(causes[name], fmt.Sprintf("%s:%d %s: %s", r.Bank, r.PCR, r.Result, r.Cause))
			odd++
		}
		if odd == 0 {
			whole++
		}
	}
	t.Logf("%d machines with values, %d replay in every register of every bank", total, whole)
	for _, n := range sortedKeys(causes) {
		t.Logf("%s: %s", n, strings.Join(causes[n], "; "))
	}
	has := func(name, what string) bool {
		return slices.ContainsFunc(causes[name], func(s string) bool { return strings.Contains(s, what) })
	}
	for _, known := range [][2]string{
		{"failed-1", "sha256:0 unexplained"},
		{"failed-2", "sha256:0 unexplained"},
		{"dl160-fwupd-report", "sha256:0 unexplained"},
		{"t480s.values", "sha1:0 explained: " + causeCap},
		{"IMN-SUPERMICRO-no-epp", "sha1:7 explained: " + causeCap},
		{"ludmilla", "sha384:0 unexplained: " + causeCarteBlanche},
	} {
		if _, err := os.Stat(filepath.Join(corpusDir, "immune-gmbh+guard-oss/evidence", known[0])); err == nil {
			require.True(t, has(known[0], known[1]), "%v in %v", known, causes[known[0]])
		}
	}
	for _, good := range []string{"good-1", "r340", "base"} {
		require.Empty(t, causes[good], good)
	}
}

// R4: the composite of every real quote is recomputed in the order of its own
// selections, however many banks it has.
func TestRealQuotesHaveTheRightComposite(t *testing.T) {
	needCorpus(t)
	quotes, err := filepath.Glob(filepath.Join(corpusDir, "immune-gmbh+guard-oss/evidence/*/quote.tpms_attest.bin"))
	require.NoError(t, err)
	right, several, none := 0, 0, 0
	for _, p := range quotes {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		a, err := tpmwire.ParseAttest(b)
		require.NoError(t, err, p)
		dir := filepath.Dir(p)
		if sig, err := os.ReadFile(filepath.Join(dir, "quote.tpmt_signature.bin")); err == nil {
			_, err := tpmwire.ParseSignature(sig)
			require.NoError(t, err, p)
		}
		n := 0
		for _, s := range a.Quote.Selections {
			n += len(s.PCRs)
		}
		if n == 0 {
			none++
			continue
		}
		if len(a.Quote.Selections) > 1 {
			several++
		}
		raw, err := os.ReadFile(filepath.Join(dir, "pcrs.json"))
		if err != nil {
			continue
		}
		v, err := ParseRegisterValues(raw, "")
		require.NoError(t, err)
		o := &Observation{bundle: emptyBundle(t), listings: []listing{{pcrsPath, v}}}
		ap := &appraiser{o: o, p: &Params{}}
		q := attested{attestation: &attestation{path: "q", name: "quote", raw: b, body: a}}
		q.resolve(ap)
		require.True(t, q.resolved, dir)
		right++
	}
	t.Logf("%d quotes: %d composites right, %d over several banks, %d select nothing", len(quotes), right, several, none)
	require.GreaterOrEqual(t, right, 5)
	require.LessOrEqual(t, none, 1, "one machine is known to have signed a quote over nothing")
}

func machine(t *testing.T, name string) *Observation {
	t.Helper()
	p := "../../shared/corpus/machines/" + name + ".evidence.zip"
	if _, err := os.Stat(p); err != nil {
		t.Skip("needs ../shared/corpus/machines")
	}
	b, err := evidence.Open(p, evidence.DefaultLimits())
	require.NoError(t, err)
	return Observe(b)
}

var machines = []string{
	"DESKTOP-MIMU51J-EPP-ESET", "Haruhi", "IMN-DELL-WBCL-BootCtrs", "good-1", "r340", "test-HP-EliteBook-830-G6-add-mokx",
	"test-HP-EliteBook-830-G6-baseline", "test-HP-EliteBook-830-G6-del-mokx", "test-before", "test-update", "x1carbon",
}

// A reference drafted from a real machine describes that machine.
func TestRealMachinesFitTheirOwnDraft(t *testing.T) {
	for _, name := range machines {
		t.Run(name, func(t *testing.T) {
			o := machine(t, name)
			a := o.Appraise(Params{References: o.DraftReferences(), Endorsements: o.DraftEndorsements(), VolatilePCRs: []int{10}})
			require.Empty(t, above(a, finding.Low))
			require.False(t, a.Quoted, "no attestation key is in evidence, so nothing is proved")
			require.NotEmpty(t, a.NotChecked)
		})
	}
}

func against(t *testing.T, reference, name string) *Appraisal {
	r := machine(t, reference)
	return machine(t, name).Appraise(Params{References: r.DraftReferences(), VolatilePCRs: []int{10}, Now: time.Unix(0, 0)})
}

func TestRuntimeExtendOfPCR0IsNotHidden(t *testing.T) {
	a := against(t, "good-1", "failed-1")
	f := one(t, a, finding.LogDoesNotReplay, "pcr:0")
	require.Equal(t, finding.Critical, f.Severity)
	require.Contains(t, f.Why, causeRuntime)
	require.False(t, a.LogMatches)
}

func TestMokListXChangesAreNamed(t *testing.T) {
	for _, p := range [][2]string{
		{"test-HP-EliteBook-830-G6-baseline", "test-HP-EliteBook-830-G6-add-mokx"},
		{"test-HP-EliteBook-830-G6-add-mokx", "test-HP-EliteBook-830-G6-del-mokx"},
	} {
		f := one(t, against(t, p[0], p[1]), finding.SecureBootKeysDiffer, "pcr:14/MokListX")
		require.Equal(t, finding.High, f.Severity)
		require.NotEmpty(t, f.Want)
	}
}

func above(a *Appraisal, s finding.Severity) []string {
	var out []string
	for _, f := range a.Findings {
		if f.Severity > s {
			out = append(out, fmt.Sprintf("%s %s %s want %q got %q: %s", f.Severity, f.Code, f.Subject, f.Want, f.Got, f.Why))
		}
	}
	return out
}

// one returns the only finding with a code and subject.
func one(t *testing.T, a *Appraisal, code finding.Code, subject string) finding.Finding {
	t.Helper()
	var hits []finding.Finding
	for _, f := range a.Findings {
		if f.Code == code && f.Subject == subject {
			hits = append(hits, f)
		}
	}
	require.Len(t, hits, 1, "%s %s among %v", code, subject, above(a, 0))
	return hits[0]
}

func codes(a *Appraisal) []finding.Code {
	var out []finding.Code
	for _, f := range a.Findings {
		out = append(out, f.Code)
	}
	return out
}

func emptyBundle(t testing.TB) *evidence.Bundle { return bundleOf(t, map[string][]byte{"x": {0}}) }
